"""Jobs: any number of instances, cut into batches that are requests like any other.

A job is written before its first batch is submitted, and each batch is submitted under a key that follows from the job.
So a caller who repeats the job under its own idempotency key goes on where a dead process stopped.
"""

import hashlib
import uuid
from collections.abc import Sequence
from typing import cast

from pydantic import AwareDatetime, BaseModel, ConfigDict

from contract.redis.requests import IdempotencyConflict, Requests


class Job(BaseModel):
    """What is kept of a job. `request_ids` are its batches' in the instances' order, as far as they were submitted."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    job_id: str
    bk_app_code: str
    total: int
    created_at: AwareDatetime
    request_ids: tuple[str, ...] = ()


class JobStore:
    """Reads and writes jobs beside the requests; they live as long as a report."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    async def reserve(self, bk_app_code: str, idempotency_key: str | None, digest: str) -> str:
        """The job_id for this key: a fresh one, or the earlier one's. Raises `IdempotencyConflict` for another body."""
        job_id = uuid.uuid4().hex
        if idempotency_key is None:
            return job_id
        name = self._requests.keys.idempotency(bk_app_code, f"job {idempotency_key}")
        taken = await self._requests.client.set(
            name, f"{job_id}|{digest}", nx=True, get=True, ex=self._requests.settings.idempotency_ttl_s
        )
        if taken is None:
            return job_id
        earlier, _, earlier_digest = cast("bytes", taken).decode().partition("|")
        if earlier_digest != digest:
            raise IdempotencyConflict
        return earlier

    async def save(self, job: Job) -> None:
        """Keep the job."""
        name = self._requests.keys.job(job.job_id)
        await self._requests.client.set(name, job.model_dump_json(), ex=self._requests.settings.result_ttl_s)

    async def load(self, job_id: str) -> Job | None:
        """The job, None when there is none."""
        stored = await self._requests.client.get(self._requests.keys.job(job_id))
        return None if stored is None else Job.model_validate_json(stored)


def digest_of(digests: Sequence[str]) -> str:
    """One digest of a job's batches."""
    return hashlib.sha256("".join(digests).encode()).hexdigest()
