"""What a caller does: submit a request, see how it stands."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import App, Parameter

if TYPE_CHECKING:
    from bksi_client import Client
    from bksi_client.types import Report

app: Final = App(name="client", help="What a caller does.")
EXIT_REFUSED, EXIT_UNFINISHED = 1, 3
_PATIENCE_S: Final = 10.0

Url = Annotated[str, Parameter(env_var="BKSI_URL")]
AppCode = Annotated[str, Parameter(env_var="BKSI_APP_CODE")]
# Only from the environment: an argument stands in every process list.
Secret = Annotated[str, Parameter(env_var="BKSI_APP_SECRET", show=False)]


@app.command
def submit(
    file: Annotated[Path, Parameter(allow_leading_hyphen=True)],
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
    from bksi_client import RequestRefused, StillRunning, Unanswered  # noqa: PLC0415 - keep `bksi --help` quick

    text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    with _client(url, app_code, app_secret) as client:
        try:
            operations = list(client.submit_many(json.loads(text), idempotency_key))
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
    from bksi_client import RequestRefused, Unanswered  # noqa: PLC0415 - keep `bksi --help` quick

    with _client(url, app_code, app_secret) as client:
        try:
            _print(client.poll(request_id))
        except (RequestRefused, Unanswered) as error:
            sys.exit(f"bksi status: {error}")


def _client(url: str, app_code: str, secret: str) -> "Client":
    from bksi_client import Client  # noqa: PLC0415 - keep `bksi --help` quick

    return Client(url, bk_app_code=app_code, bk_app_secret=secret, patience_s=_PATIENCE_S)


def _print(document: "Report") -> None:
    print(json.dumps(document, ensure_ascii=False, indent=2))  # noqa: T201 - a command speaks
