"""The shim's commands."""

import sys
from typing import Final

from cyclopts import App

from contract.logs import configure_logging
from contract.settings import load_settings

app: Final = App(name="shim", help="The HTTP door and its client commands.")


@app.command
def serve() -> None:
    """Serve HTTP on BKSI_HTTP_HOST and BKSI_HTTP_PORT until it is told to stop."""
    from api_shim.http.server import CannotServe, run  # noqa: PLC0415 - the client commands must not load a server

    settings = load_settings()
    configure_logging(settings)
    try:
        run(settings)
    except CannotServe as error:
        sys.exit(f"bksi serve: {error}")
