"""What callers were told of jobs, and whether it adds up and is there."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from chaos.model import Batch, Row

_SUCCESSES: Final = frozenset({"created", "existing", "healed"})


@dataclass
class ToldJob:
    """What a caller knows of one job: what it asked for, and how it was told to have ended."""

    batch: Batch
    accepted_at: float
    ended_at: float | None = None
    reports: list[Mapping[str, Any]] = field(default_factory=list)

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


def lost_of(jobs: Mapping[str, ToldJob], rows: Mapping[Row, int]) -> Iterator[tuple[str, str]]:
    """Jobs that never ended, or whose successful instances are not there, and which of the two."""
    for id_, job in jobs.items():
        if not job.reports:
            yield id_, "the job never ended"
        elif missing := job.succeeded.rows() - rows.keys():
            yield id_, f"the job succeeded, but {len(missing)} rows are not there"


def contradictions_of(jobs: Mapping[str, ToldJob], instances: Mapping[int, Row]) -> Iterator[str]:
    """Jobs whose counts are not those of their instances, or whose ids are somebody else's."""
    for id_, job in jobs.items():
        if job.reports:
            yield from (f"job {id_}: {why}" for why in _wrong(job, instances))


def _wrong(job: ToldJob, instances: Mapping[int, Row]) -> Iterator[str]:
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
