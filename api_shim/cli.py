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
    import uvloop  # noqa: PLC0415 - the client commands must not load a server

    from api_shim.http.server import InsecureBinding, serve as serve_http  # noqa: PLC0415 - same
    from api_shim.identity_apps import AppsFileInvalid  # noqa: PLC0415 - same

    settings = load_settings()
    configure_logging(settings)
    try:
        uvloop.run(serve_http(settings))
    except (InsecureBinding, AppsFileInvalid, OSError) as error:
        sys.exit(f"bksi serve: {error}")
