"""What a report says of its request as a whole: where it stands, how its instances do, which part of a job it is."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator

from contract.answer.items import SUCCESSES, Item


class Status(StrEnum):
    """Where a request stands. The first two are unfinished, the rest are final."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"
    PART_FAILED = "PART_FAILED"
    TERMINATED = "TERMINATED"

    @property
    def is_final(self) -> bool:
        """Whether the request has ended."""
        return self not in (Status.PENDING, Status.RUNNING)


class Delivery(StrEnum):
    """Whether CMDB has what a request created here; of a request that is handed on to a CMDB."""

    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"


class Statistics(BaseModel):
    """Counters over the items; the total always adds up."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    total_count: int = 0
    success_count: int = 0
    failed_count: int = 0
    pending_count: int = 0
    running_count: int = 0

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.total_count != self.success_count + self.failed_count + self.pending_count + self.running_count:
            raise ValueError("the counters do not add up to total_count")
        return self

    @classmethod
    def of(cls, items: Sequence[Item], status: Status, total: int | None = None) -> Self:
        """Count `items`. Instances without an item (`total` says how many there are) count by `status`.

        Skipped instances count as failed: their rows are not there.
        """
        total = len(items) if total is None else total
        outcomes = [item["outcome"] for item in items]
        success = sum(map(outcomes.count, SUCCESSES))
        if total == len(items):
            return cls(total_count=total, success_count=success, failed_count=total - success)
        counts = {"success_count": success, "failed_count": len(items) - success}
        rest = {Status.PENDING: "pending_count", Status.RUNNING: "running_count", Status.SUCCESS: "success_count"}
        name = rest.get(status, "failed_count")
        counts[name] = counts.get(name, 0) + total - len(items)
        return cls(total_count=total, **counts)


class JobPart(BaseModel):
    """One batch of a job: the `number`-th from 0, whose first instance is the job's `first`-th.

    The last one says so. Hence whoever has all of them knows that they are all, however little else is left.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    job_id: str
    number: int
    first: int
    is_last: bool = False

    def dump(self) -> str:
        """As it stands in a pending entry: ``<job_id> <number> <first> <0 or 1>``."""
        return f"{self.job_id} {self.number} {self.first} {int(self.is_last)}"

    @classmethod
    def load(cls, stored: str | bytes | None) -> Self | None:
        """What `dump` wrote; None for nothing, a request that is no part of a job."""
        if not stored:
            return None
        text = stored if isinstance(stored, str) else stored.decode()
        job_id, number, first, is_last = text.split(" ")
        return cls(job_id=job_id, number=int(number), first=int(first), is_last=is_last == "1")
