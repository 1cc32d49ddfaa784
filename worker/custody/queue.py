"""The queue as a worker sees it: put a request's message back, and tell what has certainly left it."""

import asyncio
from typing import Any, Final

import orjson

from contract.message import DELIVER_TASK_NAME, QUEUE_NAME
from contract.queue import Queue
from plumbing import traces
from worker.custody.leases import Lease, Leases, Pending

_PAGE: Final = 50
_PAGES: Final = 20
_STALE_MS: Final = 300_000


class WorkerQueue:
    """Where messages wait, for those who have leased requests and for the reaper."""

    def __init__(self, leases: Leases, queue: Queue) -> None:
        self._leases = leases
        self._queue = queue

    async def hand_back(
        self, lease: Lease, summary: str, headers: dict[str, str] | None = None, *, count_attempt: bool
    ) -> bool:
        """Give a leased request back, behind what waits; False when the lease is not ours any more."""
        return await self._queue.put(
            lambda message: self._leases.hand_back(lease, message, count_attempt=count_attempt),
            lease.request_id,
            summary,
            headers,
        )

    async def resend(self, pending: Pending) -> bool:
        """Send an ownerless request again; False when another reaper was first or an owner turned up."""
        return await self._queue.put(
            lambda message: self._leases.resend(pending, message),
            pending.request_id,
            pending.summary,
            traces.headers(pending.traceparent),
        )

    async def deliver(self, request_id: str, summary: str) -> None:
        """Ask a worker to hand on what a request created. PostgreSQL has it: what gets lost is sent again."""
        await self._queue.put(self._leases.push, request_id, summary, task=DELIVER_TASK_NAME)

    async def taken_before(self, now_ms: int) -> int:
        """Everything pushed before this moment (ms, Redis' clock) has left the queue."""
        return await (self._oldest_ms(now_ms) if self._queue.is_beside else self._stale_ms(now_ms))

    async def _oldest_ms(self, now_ms: int) -> int:
        """When the oldest message that waits was pushed.

        The queue is first in, first out, and an entry's score is the time of its last push: what was pushed before the
        oldest waiting message has been taken. Messages without a pending entry (direct ones, other tasks) say
        nothing, so the next ones are asked; behind very many of them nothing counts as taken.
        """
        for page in range(_PAGES):
            messages = await self._leases.waiting(page * _PAGE, _PAGE)
            ids = [id_ for id_ in map(_task_id, messages) if id_]
            scores = [score for score in await self._leases.pushed_ms(ids) if score is not None]
            if scores:
                return min(scores)
            if len(messages) < _PAGE:
                return now_ms
        return 0

    async def _stale_ms(self, now_ms: int) -> int:
        """Now, if the queue is empty; else five minutes ago.

        What waits on another server, RabbitMQ for example, cannot be looked at, only counted. To send a request again
        that was sent five minutes ago doubles a message at worst and never a row.
        """
        waiting = await asyncio.to_thread(self._count)
        if waiting is None:
            return 0
        return now_ms - _STALE_MS if waiting else now_ms

    def _count(self) -> int | None:
        """How many messages wait; None when the broker does not say."""
        pool: Any = self._queue.celery.pool
        with pool.acquire(block=True) as connection:
            try:
                with connection.channel() as channel:
                    waiting = int(channel.queue_declare(QUEUE_NAME, passive=True).message_count)
            except connection.channel_errors:
                waiting = 0  # nobody has declared it yet, so nothing is in it
            except connection.connection_errors as error:
                self._queue.outage.lasts(error)
                return None
        self._queue.outage.is_over()
        return waiting


def _task_id(message: bytes) -> str | None:
    try:
        task_id: Any = orjson.loads(message)["headers"]["id"]
    except (ValueError, KeyError, TypeError):
        return None
    return task_id if isinstance(task_id, str) else None
