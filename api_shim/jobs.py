"""Submit and poll jobs: any number of instances, as one request for each batch."""

from collections.abc import Sequence
from datetime import UTC, datetime

from api_shim.refusals import reaching_redis
from api_shim.submitter import Submitter
from contract.answer.report import Report
from contract.message import Caller
from contract.redis.jobs import Job, JobStore, digest_of
from contract.request.parse import ParsedBatch


class Jobs:
    """The jobs of one submitter."""

    def __init__(self, submitter: Submitter) -> None:
        self._submitter = submitter
        self._jobs = JobStore(submitter.requests)

    async def submit(
        self,
        parts: Sequence[ParsedBatch],
        caller: Caller,
        *,
        idempotency_key: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Job:
        """Submit the batches of one job, in order. Under the same key again it goes on where it stopped.

        Raises:
            Busy, IdempotencyConflict, BrokerUnavailable: as `Submitter.submit`; the batches before are accepted.
        """
        digest = digest_of([part.batch.digest() for part in parts])
        job_id = await reaching_redis(self._jobs.reserve(caller.bk_app_code, idempotency_key, digest))
        job = Job(
            job_id=job_id,
            bk_app_code=caller.bk_app_code,
            total=sum(len(part.batch.instances) for part in parts),
            created_at=datetime.now(tz=UTC),
        )
        await reaching_redis(self._jobs.save(job))
        ids = [
            (
                await self._submitter.submit(
                    part.batch,
                    caller,
                    warnings=part.warnings,
                    # A blank: no caller can send such a key.
                    idempotency_key=f"job {job_id} {number}",
                    headers=headers,
                )
            ).request_id
            for number, part in enumerate(parts)
        ]
        job = job.model_copy(update={"request_ids": tuple(ids)})
        await reaching_redis(self._jobs.save(job))
        return job

    async def poll(self, job_id: str, bk_app_code: str) -> tuple[Job, list[Report | None]] | None:
        """A job of this application with its batches' reports; None when there is none."""
        job = await reaching_redis(self._jobs.load(job_id))
        if job is None or job.bk_app_code != bk_app_code:
            return None
        reports = await reaching_redis(self._submitter.requests.load_many(job.request_ids)) if job.request_ids else []
        return job, reports
