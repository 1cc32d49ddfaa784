"""The shim's commands."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import App, Parameter

if TYPE_CHECKING:
    from api_shim.client import Client

app: Final = App(name="shim", help="The HTTP door and its client commands.")
EXIT_REFUSED, EXIT_UNFINISHED = 1, 3
_PATIENCE_S: Final = 10.0

Url = Annotated[str, Parameter(env_var="BKSI_URL")]
AppCode = Annotated[str, Parameter(env_var="BKSI_APP_CODE")]
# Only from the environment: an argument stands in every process list.
Secret = Annotated[str, Parameter(env_var="BKSI_APP_SECRET", show=False)]


@app.command
def serve() -> None:
    """Serve HTTP on BKSI_HTTP_HOST and BKSI_HTTP_PORT until it is told to stop."""
    from api_shim.http.server import CannotServe, run  # noqa: PLC0415 - the client commands must not load a server
    from contract.settings import load_settings  # noqa: PLC0415 - same
    from plumbing import failpoints  # noqa: PLC0415 - same
    from plumbing.logs import configure_logging  # noqa: PLC0415 - same

    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    failpoints.arm(settings.failpoints, settings.failpoints_dir)
    try:
        run(settings)
    except CannotServe as error:
        sys.exit(f"bksi serve: {error}")


@app.command
def submit(
    file: Path,
    *,
    url: Url = "http://127.0.0.1:8080",
    app_code: AppCode = "",
    app_secret: Secret = "",
    wait: float = 0.0,
    idempotency_key: str | None = None,
) -> None:
    """Submit the JSON request in FILE ("-" reads standard input) and print the answer.

    The exit code is 0 when it was accepted or has succeeded, 1 when it was refused or has failed, 3 when it has not
    ended within --wait seconds.

    Args:
        file: a request as POST /v1/batches takes it, with any number of instances.
        url: of the server.
        app_code: of the calling application.
        app_secret: of the calling application; set BKSI_APP_SECRET instead.
        wait: seconds to wait for the end.
        idempotency_key: makes a repeat of this very command harmless.
    """
    from api_shim.client import RequestRefused, StillRunning, Unanswered  # noqa: PLC0415 - keep `bksi --help` quick

    text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    with _client(url, app_code, app_secret) as client:
        try:
            operations = client.submit_many(json.loads(text), idempotency_key)
            reports = [operation.wait(wait) if wait else operation.status() for operation in operations]
        except StillRunning as error:
            print(f"bksi submit: {error}", file=sys.stderr)  # noqa: T201 - a command speaks
            sys.exit(EXIT_UNFINISHED)
        except (RequestRefused, Unanswered, ValueError) as error:
            sys.exit(f"bksi submit: {error}")
    for report in reports:
        _print(report)
    if not all(report["result"] for report in reports):
        sys.exit(EXIT_REFUSED)


@app.command
def status(
    request_id: str,
    *,
    url: Url = "http://127.0.0.1:8080",
    app_code: AppCode = "",
    app_secret: Secret = "",
) -> None:
    """Print how the request REQUEST_ID stands.

    Args:
        request_id: 32 hexadecimal digits, as the answer to its submit said.
        url: of the server.
        app_code: of the calling application.
        app_secret: of the calling application; set BKSI_APP_SECRET instead.
    """
    from api_shim.client import RequestRefused, Unanswered  # noqa: PLC0415 - keep `bksi --help` quick

    with _client(url, app_code, app_secret) as client:
        try:
            _print(client.poll(request_id))
        except (RequestRefused, Unanswered) as error:
            sys.exit(f"bksi status: {error}")


@app.command
def app_secret(app_code: str) -> None:
    """Make a secret for the application APP_CODE: print it once, and its entry for the file of applications."""
    import secrets  # noqa: PLC0415 - keep `bksi --help` quick

    from api_shim.identity.applications import hash_secret  # noqa: PLC0415 - same

    secret = secrets.token_urlsafe(32)
    entry = f'[apps.{app_code}]\nsecrets = ["{hash_secret(secret)}"]\nbk_biz_ids = []'
    print(f"# bk_app_secret, shown only now: {secret}\n{entry}")  # noqa: T201 - a command speaks


def _client(url: str, app_code: str, secret: str) -> "Client":
    from api_shim.client import Client  # noqa: PLC0415 - keep `bksi --help` quick

    return Client(url, bk_app_code=app_code, bk_app_secret=secret, patience_s=_PATIENCE_S)


def _print(document: dict[str, Any]) -> None:
    print(json.dumps(document, ensure_ascii=False, indent=2))  # noqa: T201 - a command speaks
