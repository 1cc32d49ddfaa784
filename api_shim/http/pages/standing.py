"""How far something is, for a bar and its legend; and how long it took."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from contract.answer.job import Job, counts_of
from contract.answer.report import Report
from contract.answer.status import Outcome, Status

REFRESH_S: Final = (1, 10)
"""How often a page is made again at most, and at least, while what it shows is unfinished."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of the bar; `start` and `width` are percentages."""

    kind: str
    count: int
    start: float
    width: float


def of_report(report: Report) -> dict[str, int]:
    """How many instances of a request stand how."""
    if report.status.is_final:
        return dict(zip((outcome.value for outcome in Outcome), counts_of(report), strict=True))
    kind = "running" if report.status is Status.RUNNING else "pending"
    return {kind: report.statistics.total_count}


def of_job(job: Job) -> dict[str, int]:
    """How many instances of a job stand how, of those accepted so far."""
    outcomes = {outcome.value: job.outcomes.get(outcome, 0) for outcome in Outcome}
    return {**outcomes, "running": job.statistics.running_count, "pending": job.statistics.pending_count}


def segments(counts: Mapping[str, int]) -> list[Segment]:
    """`counts` as parts of a bar; what is not there has none."""
    return list(_segments([(kind, count) for kind, count in counts.items() if count]))


def _segments(counts: list[tuple[str, int]]) -> Iterator[Segment]:
    total, before = sum(count for _, count in counts), 0
    for kind, count in counts:
        yield Segment(kind, count, round(100 * before / total, 3), round(100 * count / total, 3))
        before += count


def took_s(created_at: datetime, finished_at: datetime | None) -> float | None:
    """Seconds from the first to the last moment."""
    return None if finished_at is None else max(0.0, round((finished_at - created_at).total_seconds(), 2))


def refresh_s(headers: Mapping[str, str]) -> int:
    """In how many seconds to make the page again; 0: nothing will change."""
    if "Retry-After" not in headers:
        return 0
    shortest, longest = REFRESH_S
    return min(max(int(headers["Retry-After"]), shortest), longest)


def actions(path: str, command: str, verbs: Iterable[str], link: Any) -> list[dict[str, str]]:
    """What may be done about it, as a button and as a command: ``cancel``, ``retry``."""
    identity = path.rpartition("/")[2]
    return [
        {"verb": verb, "address": link(f"{path}:{verb}"), "command": f"{command} {verb} {identity}"} for verb in verbs
    ]
