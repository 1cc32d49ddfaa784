"""Following what was submitted to its end: a bar on a terminal, lines anywhere else."""

import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from bksi_client.cli.errors import UNFINISHED, CommandFailed
from bksi_client.cli.output import printable, tell
from bksi_client.errors import StillRunning
from bksi_client.types import JobReport, Report, Statistics

if TYPE_CHECKING:
    from bksi_client.blocking import Job, Operation

_LINE_EVERY_S = 5.0


class _Told(Protocol):
    def __call__(self, done: int, total: int, text: str) -> None: ...


def until_ended(operations: "Sequence[Operation]", timeout: float | None) -> list[Report | None]:
    """The final report of each, in order; None for those that have not ended after `timeout` seconds in all."""
    ends_at = None if timeout is None else time.monotonic() + timeout
    reports: list[Report | None] = []
    begun = time.monotonic()
    with _telling("requests") as told:
        for operation in operations:
            left = None if ends_at is None else max(ends_at - time.monotonic(), 0.0)
            try:
                reports.append(operation.wait(left))
            except StillRunning:
                reports.append(None)
            known = [report for report in reports if report is not None]
            told(len(known), len(operations), f"{_outcomes(known)}{_rate(known, begun)}")
    return reports


def job_until_ended(job: "Job", timeout: float | None) -> JobReport:
    """The job's final report. Raises `CommandFailed` when it has not ended after `timeout` seconds."""
    ends_at = None if timeout is None else time.monotonic() + timeout
    with _telling("instances") as told:
        for report in job.progress():
            counted = report["statistics"]
            done = counted["success_count"] + counted["failed_count"]
            told(done, counted["total_count"], job_line(report))
            if ends_at is not None and time.monotonic() >= ends_at and not job.done():
                raise CommandFailed(f"the job {job.id} has not ended", UNFINISHED)
    return report


def line(report: Report) -> str:
    """How a request stands, in one line."""
    ids = report["data"]
    shown = f"  ids {', '.join(map(str, ids[:5]))}{' …' if len(ids) > 5 else ''}" if ids else ""
    why = "" if report["result"] else f"  {report['code']}: {report['message']}"
    return printable(f"{report['request_id']}  {report['status']}  {_counts(report['statistics'])}{shown}{why}")


def job_line(report: JobReport) -> str:
    """How a job stands, in one line."""
    outcomes = ", ".join(f"{name} {count}" for name, count in report["outcomes"].items() if count)
    return printable(f"{report['job_id']}  {report['status']}  {_counts(report['statistics'])}  {outcomes}".rstrip())


def summary(reports: Sequence[Report], unfinished: int) -> str:
    """What became of all of them, in one line."""
    statuses = Counter(report["status"] for report in reports)
    said = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
    rest = f", {unfinished} not ended" if unfinished else ""
    return f"{said or 'nothing has ended'}{rest}: {_outcomes(reports) or 'no instance'}"


def _counts(counted: Statistics) -> str:
    failed = f", {counted['failed_count']} failed" if counted["failed_count"] else ""
    return f"{counted['success_count']} of {counted['total_count']}{failed}"


def _outcomes(reports: Sequence[Report]) -> str:
    counted = Counter(item["outcome"] for report in reports for item in report["items"])
    return ", ".join(f"{outcome} {count}" for outcome, count in sorted(counted.items()))


def _rate(reports: Sequence[Report], begun: float) -> str:
    instances = sum(report["statistics"]["total_count"] for report in reports)
    seconds = time.monotonic() - begun
    return f"  {instances / seconds:.0f} instances/s" if seconds > 1 else ""


@contextmanager
def _telling(what: str) -> Iterator[_Told]:
    """A bar on a terminal; on anything else a line now and then."""
    if not sys.stderr.isatty():
        yield _Lines(what)
        return
    from rich.console import Console  # noqa: PLC0415 - `bksi` and its help stay quick
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(f"{what}  {{task.description}}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def told(done: int, total: int, text: str) -> None:
            bar.update(task, completed=done, total=total, description=printable(text))

        yield told


class _Lines:
    def __init__(self, what: str) -> None:
        self._what = what
        self._last: Any = time.monotonic()

    def __call__(self, done: int, total: int, text: str) -> None:
        if time.monotonic() - self._last >= _LINE_EVERY_S:
            self._last = time.monotonic()
            tell(f"{done} of {total} {self._what}  {text}")
