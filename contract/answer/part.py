"""Which part of a job a request is."""

from typing import Self

from pydantic import BaseModel, ConfigDict


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
