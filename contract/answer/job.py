"""How a job stands: many batches under one id, told by counters that are kept as the batches end."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, NamedTuple

from contract.answer.report import Report, envelope
from contract.answer.status import SUCCESSES, Item, JobPart, Outcome, Problem, Statistics, Status, failed_item
from contract.codes import Code, Language, Refused

_INSTANCES: Final = "instances["


class JobStatus(StrEnum):
    """Where a job stands. The first two are unfinished; INTERRUPTED is too while batches of it are."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    PART_FAILED = "PART_FAILED"
    TERMINATED = "TERMINATED"
    INTERRUPTED = "INTERRUPTED"


class EndedBatch(NamedTuple):
    """One batch of a job, as PostgreSQL remembers it.

    `counts` are in the order of `Outcome`. `is_refused` says that CMDB does not take its rows.
    """

    request_id: str
    number: int
    is_last: bool
    counts: tuple[int, ...]
    finished_at: datetime
    is_refused: bool = False

    @property
    def is_left(self) -> bool:
        """Whether there is anything of it to be tried again."""
        return self.is_refused or any(self.counts[len(SUCCESSES) :])


@dataclass(frozen=True, slots=True)
class Job:
    """What is known of a job at one moment.

    `batches` are those accepted so far, `accepted` their instances, `ended` the batches that have ended.
    `size` is the number of batches once the upload is complete. `is_received` says that an upload is under way.
    `running` are the instances of batches that a worker has now. `problem` is why the first instance that failed did.
    """

    job_id: str
    bk_app_code: str
    bk_biz_id: int
    bk_module_id: int
    created_at: datetime
    batches: int = 0
    accepted: int = 0
    ended: int = 0
    size: int | None = None
    is_received: bool = False
    is_started: bool = False
    running: int = 0
    is_cancelled: bool = False
    outcomes: Mapping[Outcome, int] = field(default_factory=dict)
    problem: Problem | None = None
    finished_at: datetime | None = None

    @property
    def is_final(self) -> bool:
        """Nothing about it changes any more, unless an interrupted upload goes on."""
        return self.ended >= self.batches and not self.is_received

    @property
    def failed(self) -> int:
        """Instances that are not there although their batches have ended."""
        return self.outcomes.get(Outcome.FAILED, 0) + self.outcomes.get(Outcome.SKIPPED, 0)

    @property
    def success(self) -> int:
        """Instances that are there."""
        return sum(self.outcomes.get(outcome, 0) for outcome in SUCCESSES)

    @property
    def statistics(self) -> Statistics:
        """How many instances stand how, of those accepted so far."""
        unended = self.accepted - self.success - self.failed
        running = min(max(self.running, 0), unended)
        return Statistics(
            total_count=self.accepted,
            success_count=self.success,
            failed_count=self.failed,
            pending_count=unended - running,
            running_count=running,
        )

    @property
    def status(self) -> JobStatus:
        """The one word for it."""
        if self.is_cancelled and self.is_final and self.failed:
            return JobStatus.TERMINATED
        if self.size is None and not self.is_received and not self.is_cancelled:
            return JobStatus.INTERRUPTED
        if not self.is_final:
            return JobStatus.RUNNING if self.is_started or self.ended else JobStatus.PENDING
        if not self.failed:
            return JobStatus.TERMINATED if self.size is None else JobStatus.SUCCESS
        return JobStatus.PART_FAILED if self.success else JobStatus.FAILED

    def document(self, language: Language, *, keep_days: int) -> dict[str, Any]:
        """The v1 answer, ready for JSON. ``result`` is true only when every instance is there."""
        status = self.status
        finished_at = self.finished_at if self.is_final else None
        path = f"/v1/jobs/{self.job_id}"
        return {
            **envelope(self._said(status), self.job_id, language, result=status is JobStatus.SUCCESS),
            "job_id": self.job_id,
            "status": status.value,
            "bk_biz_id": self.bk_biz_id,
            "bk_module_id": self.bk_module_id,
            "accepted_count": self.accepted,
            "batch_count": self.batches,
            "statistics": self.statistics.counters(),
            "outcomes": {outcome.value: self.outcomes.get(outcome, 0) for outcome in Outcome},
            "created_at": _written(self.created_at),
            "finished_at": finished_at and _written(finished_at),
            "expires_at": finished_at and _written(finished_at + timedelta(days=keep_days)),
            "links": {"self": path, "batches": f"{path}/batches", "items": f"{path}/items"},
        }

    def _said(self, status: JobStatus) -> Problem:
        match status:
            case JobStatus.SUCCESS:
                return Problem(code=Code.SUCCESS)
            case JobStatus.PENDING | JobStatus.RUNNING:
                return Problem(code=Code.STILL_RUNNING)
            case JobStatus.INTERRUPTED:
                return Problem(code=Code.UPLOAD_INTERRUPTED)
            case JobStatus.TERMINATED:
                return Problem(code=Code.CANCELLED)
            case JobStatus.PART_FAILED:
                return Problem(code=Code.PARTLY_FAILED)
            case JobStatus.FAILED:
                return self.problem or Problem(code=Code.UNKNOWN)


def counts_of(report: Report) -> tuple[int, ...]:
    """How many instances of an ended batch had each outcome, in the order of `Outcome`."""
    counts = Counter(item["outcome"] for item in report.items)
    rest = report.statistics.total_count - len(report.items)
    counts[Outcome.SKIPPED if report.status is Status.TERMINATED else Outcome.FAILED] += rest
    return tuple(counts[outcome] for outcome in Outcome)


def items_of(report: Report) -> Iterator[Item]:
    """One item for each instance of an ended batch, also where nobody knew its hosts any more: their host is 0."""
    yield from report.items
    refused = Refused(Code(report.code), *report.message_args, path=report.path)
    outcome = Outcome.SKIPPED if report.status is Status.TERMINATED else Outcome.FAILED
    for index in range(len(report.items), report.statistics.total_count):
        yield failed_item(index, 0, refused, outcome=outcome)


def summed(batches: Iterable[EndedBatch]) -> dict[Outcome, int]:
    """The outcomes of several batches together."""
    totals = [sum(column) for column in zip(*(batch.counts for batch in batches), strict=True)]
    return dict(zip(Outcome, totals, strict=True)) if totals else {}


def problem_of(report: Report) -> Problem | None:
    """Why an ended batch of a job did not succeed, its path counted from the job's start; None when it did."""
    if report.status is Status.SUCCESS:
        return None
    problem = Problem(code=report.code, message_args=report.message_args, path=report.path)
    return moved(problem, report.job) if report.job else problem


def moved(problem: Problem, part: JobPart) -> Problem:
    """The problem of a batch as one of its job: ``instances[3]`` becomes that instance's place in the job."""
    path = moved_path(problem.path, part.first)
    if path == problem.path:
        return problem
    args = tuple(path if arg == problem.path else arg for arg in problem.message_args)
    return Problem(code=problem.code, message_args=args, path=path)


def moved_path(path: str, first: int) -> str:
    """A field's path in a batch as its path in the job whose `first`-th instance is the batch's first."""
    if not path.startswith(_INSTANCES):
        return path
    index, rest = path.removeprefix(_INSTANCES).split("]", 1)
    return f"{_INSTANCES}{int(index) + first}]{rest}"


def _written(moment: datetime) -> str:
    """As in a report."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
