"""The judge: every accepted request has ended, once, and what is stored is what the successful ones asked for.

Pure: it takes what callers were told and what the tables hold, and returns everything that is wrong.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from chaos.model import Batch, Row, expected_rows

_SUCCESSES: Final = frozenset({"created", "existing", "healed"})


@dataclass
class Told:
    """What a caller knows of one request: what it asked for, and each final report it was shown."""

    batch: Batch
    accepted_at: float
    ended_at: float | None = None
    reports: list[Mapping[str, Any]] = field(default_factory=list)


@dataclass
class ToldJob(Told):
    """The same of a job."""

    @property
    def report(self) -> Mapping[str, Any]:
        """The last one, empty while it has not ended."""
        return self.reports[-1] if self.reports else {"status": "", "items": (), "outcomes": {}}

    @property
    def succeeded(self) -> Batch:
        """The instances that are said to be there."""
        instances = self.batch.instances
        there = [item["index"] for item in self.report["items"] if item["outcome"] in _SUCCESSES]
        return Batch(tuple(instances[index] for index in there if index < len(instances)))


_NO_JOBS: Final[Mapping[str, ToldJob]] = {}


@dataclass(frozen=True)
class Stored:
    """What the tables hold.

    Attributes:
        rows: as `chaos.model.Instance.rows` makes them, with multiplicity.
        instances: service instance id → natural key.
        audits: request_id → ids it created.
        ledger: request_id → status.
    """

    rows: Counter[Row]
    instances: Mapping[int, Row]
    audits: Mapping[str, Sequence[int]]
    ledger: Mapping[str, str]


@dataclass(frozen=True)
class Judgement:
    """`lost`: accepted and without an end, or successful and without all its rows. `doubled`: done more than once.

    `wrong` lists everything in words, lost and doubled included; empty is well.
    """

    accepted: int
    ended: Mapping[str, int]
    lost: int
    doubled: int
    wrong: tuple[str, ...]


def judge(told: Mapping[str, Told], stored: Stored, jobs: Mapping[str, ToldJob] = _NO_JOBS) -> Judgement:
    """Compare what was promised with what is there; `told` has only accepted requests, by request_id, and so `jobs`."""
    lost = {id_: "never ended" for id_, request in told.items() if not request.reports}
    for id_, request in told.items():
        missing = request.batch.rows() - stored.rows.keys() if _status(request) == "SUCCESS" else set()
        if missing:
            lost[id_] = f"succeeded, but {len(missing)} rows are not there"
    lost |= dict(_lost_jobs(jobs, stored.rows))
    doubled = list(_doubled(told, stored, jobs))
    wrong = [f"{id_}: {why}" for id_, why in lost.items()] + doubled
    wrong += [*_contradictions(told, stored), *_wrong_jobs(jobs, stored.instances)]
    succeeded = [request.batch for request in told.values() if _status(request) == "SUCCESS"]
    succeeded += [job.succeeded for job in jobs.values()]
    extra = stored.rows.keys() - expected_rows(succeeded)
    wrong += [f"{len(extra)} rows that no successful request asked for, {min(extra)} among them"] if extra else []
    ended = Counter(_status(request) for request in told.values() if request.reports)
    return Judgement(len(told), ended, len(lost), len(doubled), tuple(wrong))


def _status(request: Told) -> str:
    return str(request.reports[-1]["status"]) if request.reports else ""


def _doubled(told: Mapping[str, Told], stored: Stored, jobs: Mapping[str, ToldJob]) -> Iterator[str]:
    for row, count in stored.rows.items():
        if count > 1:
            yield f"row {row} is there {count} times"
    creators = Counter(id_ for ids in stored.audits.values() for id_ in ids)
    for id_, count in creators.items():
        if count > 1:
            yield f"instance {id_} was created {count} times by the audit log"
    reports = [request.reports[-1] for request in told.values() if request.reports]
    reports += [job.report for job in jobs.values()]
    reported = Counter(
        item["service_instance_id"] for report in reports for item in report["items"] if item["outcome"] == "created"
    )
    for id_, count in reported.items():
        if count > 1:
            yield f"instance {id_} was reported as created {count} times"


def _contradictions(told: Mapping[str, Told], stored: Stored) -> Iterator[str]:
    """Where two sources tell different stories, or a report does not add up."""
    if set(stored.instances) != {id_ for ids in stored.audits.values() for id_ in ids}:
        yield "the audit log does not tell of every instance, or of more than there are"
    for id_, request in told.items():
        if not request.reports:
            continue
        report = request.reports[-1]
        if any(_essence(other) != _essence(report) for other in request.reports):
            yield f"{id_}: two polls were shown two ends"
        if stored.ledger.get(id_) != report["status"]:
            yield f"{id_}: told {report['status']}, but the ledger says {stored.ledger.get(id_)}"
        yield from (f"{id_}: {why}" for why in _miscounted(request, report, stored))


def _miscounted(request: Told, report: Mapping[str, Any], stored: Stored) -> Iterator[str]:
    counts, items = report["statistics"], report["items"]
    total = len(request.batch.instances)
    parts = ("success_count", "failed_count", "pending_count", "running_count")
    if counts["total_count"] != total or sum(counts[part] for part in parts) != total:
        yield f"the counts {counts} do not add up to {total}"
    if report["status"] != "SUCCESS":
        if report["data"] is not None:
            yield "failed, with data"
        return
    if counts["success_count"] != total or len(report["data"]) != total or len(items) != total:
        yield f"succeeded with {len(report['data'])} ids and {len(items)} items for {total} instances"
        return
    for instance, id_, item in zip(request.batch.instances, report["data"], items, strict=True):
        if item["service_instance_id"] != id_ or stored.instances.get(id_) != instance.key:
            yield f"id {id_} is not the instance {instance.key}"


def _essence(report: Mapping[str, Any]) -> tuple[Any, ...]:
    items = tuple((item["index"], item["outcome"], item["service_instance_id"]) for item in report["items"])
    return (report["status"], report["code"], tuple(report["data"] or ()), items)


def _lost_jobs(jobs: Mapping[str, ToldJob], rows: Mapping[Row, int]) -> Iterator[tuple[str, str]]:
    """Jobs that never ended, or whose successful instances are not there, and which of the two."""
    for id_, job in jobs.items():
        if not job.reports:
            yield id_, "the job never ended"
        elif missing := job.succeeded.rows() - rows.keys():
            yield id_, f"the job succeeded, but {len(missing)} rows are not there"


def _wrong_jobs(jobs: Mapping[str, ToldJob], instances: Mapping[int, Row]) -> Iterator[str]:
    """Jobs whose counts are not those of their instances, or whose ids are somebody else's."""
    for id_, job in jobs.items():
        if job.reports:
            yield from (f"job {id_}: {why}" for why in _wrong_job(job, instances))


def _wrong_job(job: ToldJob, instances: Mapping[int, Row]) -> Iterator[str]:
    report, total = job.report, len(job.batch.instances)
    counts = Counter(item["outcome"] for item in report["items"])
    if [item["index"] for item in report["items"]] != list(range(total)) or report["accepted_count"] != total:
        yield f"{report['accepted_count']} accepted and {len(report['items'])} items for {total} instances"
        return
    if counts != Counter({name: count for name, count in report["outcomes"].items() if count}):
        yield f"the counts {report['outcomes']} are not those of its items, {dict(counts)}"
    succeeded = sum(counts[name] for name in _SUCCESSES)
    status = "SUCCESS" if succeeded == total else "PART_FAILED" if succeeded else "FAILED"
    if report["status"] != status:
        yield f"told {report['status']} with {succeeded} of {total} instances"
    for instance, item in zip(job.batch.instances, report["items"], strict=True):
        if item["outcome"] in _SUCCESSES and instances.get(item["service_instance_id"]) != instance.key:
            yield f"id {item['service_instance_id']} is not the instance {instance.key}"
