"""What the catalogue's commands have in common."""

import hashlib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

import stamina.instrumentation
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from contract.settings import load_settings
from worker.catalogue.answers import Answer, Kind
from worker.catalogue.consent import NotRemoved, require_consent
from worker.catalogue.items import Key, Refusal
from worker.catalogue.load import import_answers
from worker.catalogue.report import ImportReport
from worker.commands.console import err, in_database, plain_errors
from worker.postgres.engine import Engine

STATEMENT_TIMEOUT_MS: Final = 600_000
"""An import is one statement per table, however many rows it has."""


def import_with_consent(
    answers: Sequence[Answer],
    *,
    bk_biz_id: int | None,
    prune: bool,
    yes: bool,
    force: bool,
    dry_run: bool,
    unreadable: Sequence[Refusal] = (),
    afterwards: Callable[[Engine], Awaitable[None]] | None = None,
) -> ImportReport:
    """Import, and do `afterwards`; where something might be removed, look first what, and ask."""

    def imported(*, dry_run: bool, at_most: Mapping[Kind, Collection[Key]] | None = None) -> ImportReport:
        async def run(engine: Engine) -> ImportReport:
            report = await import_answers(
                engine,
                answers,
                bk_biz_id=bk_biz_id,
                prune=prune,
                dry_run=dry_run,
                unreadable=unreadable,
                at_most=at_most,
            )
            if afterwards is not None and not dry_run:
                await afterwards(engine)
            return report

        return in_database(run, statement_timeout_ms=STATEMENT_TIMEOUT_MS, found=unreadable)

    if dry_run or not prune:
        return imported(dry_run=dry_run)
    with plain_errors(NotRemoved):
        looked = imported(dry_run=True)
        require_consent(looked, yes=yes, force=force)
        return imported(dry_run=False, at_most=looked.changes.removed)


def authorization_of(file: Path | None) -> str | None:
    """The credentials in a file, else those of BKSI_CMDB_AUTHORIZATION."""
    if file is not None:
        return file.read_text(encoding="utf-8")
    setting = load_settings().cmdb_authorization
    return None if setting is None else setting.get_secret_value()


def state_dir_of(url: str, bk_biz_id: int) -> Path:
    """Where the pages of one business of one CMDB are kept."""
    which = hashlib.sha256(url.encode()).hexdigest()[:12]
    return load_settings().state_dir.expanduser() / "pull" / f"{which}-{bk_biz_id}"


def progress_bars() -> Progress:
    """A bar for each listing on stderr, and a line for each pause."""
    progress = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=err
    )

    def tell(details: stamina.instrumentation.RetryDetails) -> None:
        pause = f"{details.caused_by}: next try in {details.wait_for:.0f} s"
        progress.console.print(pause, style="yellow", markup=False, highlight=False)

    stamina.instrumentation.set_on_retry_hooks([tell])
    return progress
