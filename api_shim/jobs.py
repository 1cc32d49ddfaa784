"""Jobs: any number of instances, as one request for each batch of a hundred."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from api_shim.refusals import NotFound, NotRetryable, PayloadGone, TooLate, reaching_redis
from api_shim.retries import is_retryable, tried_again
from api_shim.submitter import Submitter
from api_shim.uploads import Receiving
from contract.answer.job import Job
from contract.answer.report import Report
from contract.answer.status import Status
from contract.codes import Code, Refused
from contract.message import Caller
from contract.redis.jobs import JobStore, link
from contract.request.idempotency import key_of_job, key_of_retry
from contract.request.parse import ParsedBatch
from contract.settings import Settings
from plumbing.failpoints import async_failpoint

_REPAIR_S: Final = 1.0
_PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Received:
    """`replayed`: all of it had been accepted before."""

    job: Job
    replayed: bool


class Jobs:
    """The jobs of one submitter."""

    def __init__(self, submitter: Submitter, settings: Settings) -> None:
        self._submitter = submitter
        self._settings = settings
        self._store = JobStore(submitter.requests)

    async def receive(
        self,
        first: ParsedBatch,
        others: AsyncIterator[ParsedBatch],
        caller: Caller,
        *,
        begun: Callable[[str], None] = lambda _: None,
        added: Callable[[], None] = lambda: None,
        idempotency_key: str | None = None,
        charge: Callable[[], Awaitable[None]] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Received:
        """Accept a job's batches as they come. Under the same key again it goes on where it stopped.

        When it raises, the job is interrupted; what was accepted is carried out.

        Args:
            first: the first batch.
            others: those after it, in order, all with the same head.
            caller: who asks.
            begun: is told the job's id, before any of it is accepted.
            added: is told of each batch that is accepted.
            idempotency_key: of the job.
            charge: is awaited before each batch but the first, and may take its time.
            headers: extra Celery headers.

        Raises:
            Busy: nothing of it has ended for `PATIENCE_S`, or the queue has had no room.
            IdempotencyConflict: what was accepted under the key is something else.
            Refused: 1190008 it was cancelled, 1190015 another upload carries it on.
            BrokerUnavailable: Redis does not answer.
        """
        head = first.batch
        upload = await reaching_redis(self._store.begin(caller, head.bk_biz_id, head.bk_module_id, idempotency_key))
        begun(upload.job_id)
        if upload.job.is_cancelled:
            raise Refused(Code.CANCELLED)
        await async_failpoint("after_job_begun", upload.job_id)
        receiving = Receiving(self._submitter, self._store, self._settings, upload, caller, added, charge, headers)
        replayed = upload.job.size is not None
        async with receiving.alive():
            await receiving.take(first, others)
        job = await reaching_redis(self._store.load(upload.job_id))
        return Received(job or upload.job, replayed)

    async def find(self, job_id: str, bk_app_code: str) -> Job:
        """How a job of this application stands; raises as `Submitter.poll`."""
        return await reaching_redis(self._submitter.recall.find(job_id, bk_app_code, self._store.load))

    async def either(self, id_: str, bk_app_code: str) -> Report | Job:
        """The request or the job of this application under an id; raises as `find`."""
        return await reaching_redis(self._submitter.recall.find(id_, bk_app_code, self._load_either))

    async def under_key(self, idempotency_key: str, bk_app_code: str) -> Report | Job:
        """The request or the job that an application submitted under a key; raises as `find`."""
        for key in (idempotency_key, key_of_job(idempotency_key)):
            id_ = await reaching_redis(self._submitter.requests.holder_of(bk_app_code, key))
            if id_ is not None:
                return await self.either(id_, bk_app_code)
        raise NotFound

    async def _load_either(self, id_: str) -> Report | Job | None:
        return await self._submitter.requests.load(id_) or await self._store.load(id_)

    async def wait(self, job_id: str, bk_app_code: str, seconds: float, left: "asyncio.Future[None]") -> Job:
        """Like `find`, but waits up to `seconds` for its end, or until `left` is done: nobody waits any more."""
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + seconds
        async with self._submitter.waiters.hearing(job_id) as heard:
            while True:
                job = await self.find(job_id, bk_app_code)
                seconds_left = give_up_at - loop.time()
                if job.is_final or seconds_left <= 0 or left.done() or self._submitter.waiters.is_released:
                    return job
                await heard(min(seconds_left, _REPAIR_S))

    async def recent(self, bk_app_code: str, after: str | None, limit: int) -> tuple[list[Job], str | None]:
        """An application's jobs that Redis knows, newest first, at most `limit`, going on after a job_id.

        Returns:
            The jobs, and after which job_id the next page goes on; None: there is none.
        """
        following = await reaching_redis(self._store.recent_ids(bk_app_code, after, limit + 1))
        ids = following[:limit]
        jobs = await reaching_redis(self._store.load_many(ids)) if ids else []
        return [job for job in jobs if job is not None], ids[-1] if len(following) > limit else None

    async def batches(self, job: Job, start: int, limit: int) -> list[tuple[str, Report | None]]:
        """A job's batches in order, `limit` of them after the first `start`; None for one that is unknown."""
        ids = await reaching_redis(self._store.batch_ids(job.job_id, start, limit))
        return list(zip(ids, await self._reports(ids, job.bk_app_code), strict=True))

    async def failed_batches(self, job: Job, number: int, limit: int) -> list[tuple[int, str, Report | None]]:
        """Those of a job's batches that did not succeed, or that CMDB does not take, from `number` on."""
        found = await reaching_redis(self._store.failed_ids(job.job_id, number, limit))
        reports = await self._reports([id_ for _, id_ in found], job.bk_app_code)
        return [(place, id_, report) for (place, id_), report in zip(found, reports, strict=True)]

    async def cancel(self, job_id: str, bk_app_code: str) -> Job:
        """Let nothing of a job begin that has not. Its batches that wait are ended at once.

        Raises:
            TooLate: all of it has ended.
        """
        job = await self.find(job_id, bk_app_code)
        if job.status.value == Status.TERMINATED.value:
            return job
        if await reaching_redis(self._store.cancel(job_id)) == 0:
            raise TooLate(job.status)
        await async_failpoint("after_job_cancelled", job_id)
        start, now = 0, await self._submitter.now()
        while ids := await reaching_redis(self._store.batch_ids(job_id, start, _PAGE)):
            for report in await reaching_redis(self._submitter.requests.load_many(ids)):
                if report is not None and not report.status.is_final:
                    with contextlib.suppress(TooLate, NotFound):
                        await self._submitter.end_unstarted(report, now)
            start += len(ids)
        return await self.find(job_id, bk_app_code)

    async def retry(self, job_id: str, caller: Caller, begun: Callable[[str], None]) -> Received:
        """Submit what did not succeed of a job again, and what CMDB has not taken, as a new job.

        Raises:
            NotRetryable: it is unfinished, or there is nothing of the kind, or its rows would be cloned once more.
            PayloadGone: what it asked for is not kept any more.
        """
        job = await self.find(job_id, caller.bk_app_code)
        if not job.is_final:
            raise NotRetryable(job.status)
        # The same once more is the same job. CMDB may have refused more meanwhile, or taken some: then it is another.
        chain = ""
        async for part in self._failed_parts(job):
            chain = link(chain, part.batch.digest())
        key = key_of_retry(job_id, chain)
        parts = self._failed_parts(job)
        return await self.receive(await anext(parts), parts, caller, begun=begun, idempotency_key=key)

    async def is_retryable(self, job: Job) -> bool:
        """Whether `retry` would take a job; raises `BrokerUnavailable` where that cannot be found out."""
        if not job.is_final:
            return False
        async with contextlib.aclosing(self._failed_parts(job)) as parts:
            try:
                await anext(parts)
            except (NotRetryable, PayloadGone):
                return False
            return True

    async def _failed_parts(self, job: Job) -> AsyncGenerator[ParsedBatch, None]:
        number, is_empty = 0, True
        while found := await self.failed_batches(job, number, _PAGE):
            number = found[-1][0] + 1
            for _, request_id, report in found:
                if report is None:
                    raise PayloadGone
                if not is_retryable(report):  # CMDB has taken it by now
                    continue
                payload = await self._submitter.kept(request_id)
                if (batch := tried_again(payload.batch, report, whole=False)) is not None:
                    is_empty = False
                    yield ParsedBatch(batch, payload.warnings)
        if is_empty:
            raise NotRetryable(job.status)

    async def _reports(self, ids: list[str], bk_app_code: str) -> list[Report | None]:
        reports = await reaching_redis(self._submitter.requests.load_many(ids))
        return [report or await self._recalled(id_, bk_app_code) for id_, report in zip(ids, reports, strict=True)]

    async def _recalled(self, request_id: str, bk_app_code: str) -> Report | None:
        with contextlib.suppress(NotFound):
            return await self._submitter.poll(request_id, bk_app_code)
        return None
