"""Taking one upload of a job: its batches as they come, held back while much of the job is unfinished."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from api_shim.refusals import BrokerUnavailable, Busy, reaching_redis
from api_shim.submitter import Submitter
from contract.answer.status import JobPart
from contract.codes import Code, Refused
from contract.message import Caller, new_request_id
from contract.redis.jobs import JobStore, NotThisUploads, Upload, link
from contract.redis.records import PendingEntry
from contract.redis.requests import IdempotencyConflict, QueueFull
from contract.request.parse import ParsedBatch
from contract.settings import Settings
from plumbing.cancel import cancel_and_wait
from plumbing.failpoints import async_failpoint

_LOOK_S: Final = 0.05
PATIENCE_S: Final = 60.0
"""How long an upload is held back while nothing of its job ends; then it is told to come again."""


@dataclass(slots=True)
class Receiving:
    """One upload on its way."""

    submitter: Submitter
    store: JobStore
    settings: Settings
    upload: Upload
    caller: Caller
    added: Callable[[], None]
    charge: Callable[[], Awaitable[None]] | None
    headers: dict[str, str] | None
    unended: int = 0

    @contextlib.asynccontextmanager
    async def alive(self) -> AsyncIterator[None]:
        """Say all the while that the upload lives, and at the end that it is over, however it ends."""
        task = asyncio.create_task(self._stay_alive())
        try:
            yield
        finally:
            await cancel_and_wait([task])
            with contextlib.suppress(NotThisUploads, BrokerUnavailable):
                await reaching_redis(self.store.hold(self.upload, is_over=True))

    async def _stay_alive(self) -> None:
        while True:
            await asyncio.sleep(self.settings.owner_ttl_ms / 4000)
            with contextlib.suppress(NotThisUploads, BrokerUnavailable):
                self.unended = await reaching_redis(self.store.hold(self.upload))

    async def take(self, first_batch: ParsedBatch, others: AsyncIterator[ParsedBatch]) -> None:
        """Add what was not accepted before. What was is only compared."""
        known, chain, before = self.upload.job.batches, self.upload.chain, ""
        async for parsed, number, first, is_last in _numbered(first_batch, others):
            after = link(before, parsed.batch.digest())
            if number < known:
                if number == known - 1 and chain not in ("", after):
                    raise IdempotencyConflict
                if is_last and number < known - 1:
                    raise IdempotencyConflict
                if is_last and self.upload.job.size is None:
                    raise IdempotencyConflict  # what was accepted says that more follows
            elif self.upload.job.size is not None:
                raise IdempotencyConflict
            else:
                if number and self.charge is not None:
                    await self.charge()
                part = JobPart(job_id=self.upload.job_id, number=number, first=first, is_last=is_last)
                await self._add(parsed, part, after)
            before = after

    async def _add(self, parsed: ParsedBatch, part: JobPart, after: str) -> None:
        await self._wait_for_room()
        give_up_at = asyncio.get_running_loop().time() + PATIENCE_S
        while True:
            try:
                self.unended = await self._submit(parsed, part, after)
            except NotThisUploads:
                job = await reaching_redis(self.store.load(self.upload.job_id))
                is_cancelled = job is not None and job.is_cancelled
                raise Refused(Code.CANCELLED if is_cancelled else Code.UPLOAD_INTERRUPTED) from None
            except QueueFull as full:
                if asyncio.get_running_loop().time() > give_up_at:
                    raise Busy(await self.submitter.backlog.seconds_for(full.pending)) from None
                await asyncio.sleep(_LOOK_S)
            else:
                self.added()
                return

    async def _submit(self, parsed: ParsedBatch, part: JobPart, after: str) -> int:
        """Submit one batch; raises as `JobStore.add`. Returns how many of the job's have not ended."""
        request_id = new_request_id()
        entry = PendingEntry.of(request_id, parsed.batch, self.caller, parsed.warnings, job=part, headers=self.headers)

        async def write(message: bytes) -> int:
            unended = await reaching_redis(self.store.add(self.upload, entry, message, after))
            await async_failpoint("after_submit", request_id)
            return unended

        await async_failpoint("before_submit")
        return await self.submitter.queue.put(write, request_id, entry.summary, self.headers, is_wanted=lambda _: True)

    async def _wait_for_room(self) -> None:
        """Hold the sender back while as much of the job is unfinished as may be."""
        least, give_up_at = self.unended, asyncio.get_running_loop().time() + PATIENCE_S
        while self.unended >= self.settings.max_job_batches:
            await asyncio.sleep(_LOOK_S)
            try:
                self.unended = await reaching_redis(self.store.hold(self.upload))
            except NotThisUploads:
                return
            if self.unended < least:
                least, give_up_at = self.unended, asyncio.get_running_loop().time() + PATIENCE_S
            if asyncio.get_running_loop().time() > give_up_at:
                raise Busy(await self.submitter.backlog.seconds_for(self.unended))


async def _numbered(
    first: ParsedBatch, others: AsyncIterator[ParsedBatch]
) -> AsyncIterator[tuple[ParsedBatch, int, int, bool]]:
    """Each batch with its number, the number of its first instance, and whether it is the last."""
    batch, number, start = first, 0, 0
    while (following := await anext(others, None)) is not None:
        yield batch, number, start, False
        number, start = number + 1, start + len(batch.batch.instances)
        batch = following
    yield batch, number, start, True
