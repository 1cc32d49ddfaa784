"""The shim's commands."""

import sys
from typing import Annotated, Final

from cyclopts import App, Parameter

app: Final = App(name="shim", help="The HTTP door.")


@app.command
def serve(*, share_port: Annotated[bool, Parameter(negative=())] = False) -> None:
    """Serve HTTP on BKSI_HTTP_HOST and BKSI_HTTP_PORT until it is told to stop.

    Args:
        share_port: Join the servers of the same configuration that were started on this port with --share-port too:
            one for each core, or the next one of a rolling restart.
    """
    from plumbing.collector import without_collections  # noqa: PLC0415 - `bksi` and its help stay quick

    with without_collections():
        from api_shim.http import server  # noqa: PLC0415 - same
        from contract.settings import load_settings  # noqa: PLC0415 - same
        from plumbing import failpoints  # noqa: PLC0415 - same
        from plumbing.logs import configure_logging, give_up  # noqa: PLC0415 - same

    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    failpoints.arm(settings.failpoints, settings.failpoints_dir)
    try:
        server.run(server.serve(settings, share_port=share_port))
    except server.CannotServe as error:
        give_up(f"bksi serve: {error}")


@app.command
def app_secret(app_code: str) -> None:
    """Make a secret for the application APP_CODE, and print its entry for the file of applications.

    The secret is shown once, on standard error: `bksi app-secret APP_CODE >> apps.toml` keeps its hash alone.
    """
    import secrets  # noqa: PLC0415 - keep `bksi --help` quick

    from api_shim.identity.applications import hash_secret  # noqa: PLC0415 - same
    from contract.known import require_name  # noqa: PLC0415 - same

    require_name(app_code)
    secret = secrets.token_urlsafe(32)
    entry = f'[apps.{app_code}]\nsecrets = ["{hash_secret(secret)}"]\nbk_biz_ids = []'
    print(f"bk_app_secret, shown only now: {secret}", file=sys.stderr)  # noqa: T201 - a command speaks
    print(entry)  # noqa: T201 - same
