"""Which server a verb calls, and as whom."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, cast

from cyclopts import Parameter

from bksi_client.cli.errors import FAILED, UNANSWERED, UNFINISHED, CommandFailed
from bksi_client.cli.profiles import default_profile, profile
from bksi_client.errors import BksiError, RequestRefused, StillRunning, Unanswered
from bksi_client.types import Language

if TYPE_CHECKING:
    from bksi_client.blocking import Client

HERE: Final = "http://127.0.0.1:8080"


@Parameter(name="*")
@dataclass(frozen=True)
class Server:
    """The options of every verb. Without any: BKSI_URL, the profile `default`, or this machine's port 8080."""

    url: Annotated[str | None, Parameter(help="Of the server; BKSI_URL.")] = None
    stack: Annotated[Path | None, Parameter(help="The --data-dir of a `bksi up` on this machine.")] = None
    profile: Annotated[str | None, Parameter(env_var="BKSI_PROFILE", help="A server of `bksi profile add`.")] = None
    app_code: Annotated[str | None, Parameter(help="Of the calling application; BKSI_APP_CODE.")] = None
    # The secret comes from the environment alone: an argument stands in every process list.
    patience: Annotated[float, Parameter(help="Seconds to try again while the server is away or busy.")] = 10.0

    @contextmanager
    def client(self) -> "Iterator[Client]":
        """A client of it, whose errors end the command with one line."""
        from bksi_client.blocking import Client  # noqa: PLC0415 - `bksi` and its help stay quick

        kept = profile(self.profile) if self.profile else {}
        url, from_ = self._url(kept)
        try:
            client = Client(
                url,
                bk_app_code=self.app_code or os.environ.get("BKSI_APP_CODE") or kept.get("app_code"),
                language=cast("Language | None", kept.get("language")),
                patience_s=self.patience,
            )
        except ValueError as error:
            raise CommandFailed(f"{from_}: {error}") from None
        with client:
            try:
                yield client
            except StillRunning as error:
                raise CommandFailed(error.message, UNFINISHED) from error
            except RequestRefused as error:
                whose = "" if error.code else f"{client.options.shown}: "  # without a code it is some other server
                raise CommandFailed(whose + _said(error), FAILED) from error
            except Unanswered as error:
                raise CommandFailed(f"{client.options.shown}: {error.message}", UNANSWERED) from error
            except BksiError as error:
                raise CommandFailed(str(error), FAILED) from error

    def _url(self, kept: dict[str, str]) -> tuple[str, str]:
        """The URL, and what it comes from."""
        if self.url:
            return self.url, "--url"
        if self.stack:
            return _of_stack(self.stack), "--stack"
        if kept:
            return kept.get("url", ""), f"--profile {self.profile}"
        if url := os.environ.get("BKSI_URL"):
            return url, "BKSI_URL"
        return default_profile().get("url", HERE), "the profile default"


def _of_stack(directory: Path) -> str:
    file = directory / "stack.json"
    try:
        return str(json.loads(file.read_text(encoding="utf-8"))["http"])
    except OSError as error:
        raise CommandFailed(
            f"--stack: {file}: {error.strerror}; is `bksi up --data-dir {directory}` running?"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise CommandFailed(f"--stack: {file}: is not what `bksi up` writes") from None


def _said(error: RequestRefused) -> str:
    """The refusal, with what else is wrong."""
    more = [problem["message"] for problem in error.errors[1:]]
    key = f" [Idempotency-Key {error.idempotency_key}]" if error.idempotency_key and error.status_code >= 500 else ""
    return "; ".join([f"{error}", *more]) + key
