"""What Redis has forgotten, asked for by a poller: PostgreSQL's ledger knows each request, and each batch of a job."""

from typing import TYPE_CHECKING, Any

from contract.answer.status import Status
from contract.redis.jobs import JobStore
from contract.redis.records import Note
from worker.postgres import ledger
from worker.walk.take import arguments_of

if TYPE_CHECKING:
    from worker.runtime import Runtime


async def publish_again(runtime: "Runtime", kwargs: dict[str, Any]) -> str:
    """Put the report of an ended request back into Redis, or a short-lived note that nobody knows the request."""
    request_id = arguments_of(kwargs).request_id
    entry = await ledger.load(runtime.engine, request_id)
    if entry is None and await _restore_job(runtime, request_id):
        return "job published"
    if entry is None:
        await runtime.leases.note_missing(request_id, Note())
        # It may have ended since it was looked for. What ends from now on takes the note away by itself.
        entry = await ledger.load(runtime.engine, request_id)
    if entry is None:
        return "unknown"
    if entry.report is None:
        await runtime.leases.note_missing(request_id, Note(entry.bk_app_code, entry.status))
        return "expired"
    await runtime.leases.put_back(entry.report)
    return "published"


async def _restore_job(runtime: "Runtime", job_id: str) -> bool:
    """Put the job back into Redis, or a note that its reports are gone; False when there never was such a job.

    Raises:
        DatabaseError: PostgreSQL could not be read.
        redis.exceptions.RedisError: Redis is away.
    """
    known = await ledger.load_job(runtime.engine, job_id)
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
