"""A job that Redis has forgotten, asked for by a poller: PostgreSQL's ledger knows each of its batches."""

from typing import TYPE_CHECKING

from contract.answer.status import Status
from contract.redis.jobs import JobStore
from contract.redis.records import Note
from worker.postgres.job_ledger import load_job

if TYPE_CHECKING:
    from worker.runtime import Runtime


async def restore_job(runtime: "Runtime", job_id: str) -> bool:
    """Put the job back into Redis, or a note that its reports are gone; False when there never was such a job.

    Raises:
        DatabaseError: PostgreSQL could not be read.
        redis.exceptions.RedisError: Redis is away.
    """
    known = await load_job(runtime.engine, job_id)
    if known is None:
        return False
    if known.is_purged:
        status = Status.PART_FAILED if known.job.failed and known.job.success else Status.SUCCESS
        status = Status.FAILED if not known.job.success else status
        await runtime.leases.note_missing(job_id, Note(known.job.bk_app_code, status))
    else:
        ttl_s = runtime.settings.result_ttl_s
        await JobStore(runtime.leases).restore(known.job, known.batches, ttl_s=ttl_s)
    return True
