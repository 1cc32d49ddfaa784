"""What the commands of `worker.catalogue.cli` do."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from worker.catalogue.answers import Answer, AnswerRefused, Kind, read_answer
from worker.catalogue.items import Refusal
from worker.catalogue.load import import_answers
from worker.catalogue.report import ImportReport, print_report
from worker.console import in_database, out

STATEMENT_TIMEOUT_MS: Final = 600_000
"""An import is one statement per table, however many rows it has."""


def import_files(
    files: Sequence[Path], *, kind: Kind | None, bk_biz_id: int | None, prune: bool, dry_run: bool, json: bool
) -> int:
    """Import files; see `worker.catalogue.cli.import_`."""
    answers: list[Answer] = []
    unreadable: list[Refusal] = []
    for file in files:
        try:
            answers.append(read_answer(file.read_bytes(), str(file), kind))
        except AnswerRefused as refused:
            unreadable.append(Refusal(kind, refused.source, "", refused.reason))
        except OSError as error:
            unreadable.append(Refusal(kind, str(file), "", error.strerror or type(error).__name__))

    async def run(engine: AsyncEngine) -> ImportReport:
        return await import_answers(
            engine, answers, bk_biz_id=bk_biz_id, prune=prune, dry_run=dry_run, unreadable=unreadable
        )

    report = in_database(run, statement_timeout_ms=STATEMENT_TIMEOUT_MS)
    print_report(report, out, json=json)
    return 1 if report.refused else 0
