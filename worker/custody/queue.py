"""The queue as a worker sees it: put a request's message back, and tell what has certainly left it."""

import asyncio
from typing import Any, Final, Protocol

import orjson
import structlog
from celery import Celery
from kombu.exceptions import KombuError

from contract.message import QUEUE_NAME, build_message, send_message
from contract.settings import Settings
from plumbing.outages import Outage
from worker.custody.leases import Lease, Leases, Pending

_log = structlog.get_logger(__name__)
_PAGE: Final = 50
_PAGES: Final = 20
_STALE_MS: Final = 300_000


class Queue(Protocol):
    """Where messages wait."""

    async def hand_back(self, lease: Lease, summary: str, *, count_attempt: bool) -> bool:
        """Give a leased request back; False when the lease is not ours any more."""

    async def resend(self, pending: Pending) -> bool:
        """Send an ownerless request again; False when another reaper was first or an owner turned up."""

    async def taken_before(self, now_ms: int) -> int:
        """Everything pushed before this moment (ms, Redis' clock) has left the queue."""


def open_queue(leases: Leases, celery: Celery, settings: Settings) -> Queue:
    """The queue that `settings` ask for."""
    return ListQueue(leases, celery) if settings.one_redis else BrokerQueue(leases, celery)


class ListQueue:
    """The list beside the pending entries. Each step on it is one script with theirs."""

    def __init__(self, leases: Leases, celery: Celery) -> None:
        self._leases = leases
        self._celery = celery

    async def hand_back(self, lease: Lease, summary: str, *, count_attempt: bool) -> bool:
        """Push behind what waits."""
        message = build_message(self._celery, lease.request_id, summary)
        return await self._leases.hand_back(lease, message, count_attempt=count_attempt)

    async def resend(self, pending: Pending) -> bool:
        """Push behind what waits."""
        return await self._leases.resend(pending, build_message(self._celery, pending.request_id, pending.summary))

    async def taken_before(self, now_ms: int) -> int:
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


class BrokerQueue:
    """A queue on another server, RabbitMQ for example. The pending entry is written first, then the message is sent.

    A death between the two leaves the request ownerless once more. What waits there cannot be looked at, only counted:
    while the queue is empty, everything has been taken; while it is not, a request that was sent five minutes ago is
    sent again, which doubles a message at worst and never a row.
    """

    def __init__(self, leases: Leases, celery: Celery) -> None:
        self._leases = leases
        self._celery = celery
        self._outage = Outage("broker", leases.settings.broker)

    async def hand_back(self, lease: Lease, summary: str, *, count_attempt: bool) -> bool:
        """Publish again."""
        if not await self._leases.hand_back(lease, b"", count_attempt=count_attempt):
            return False
        return await self._publish(lease.request_id, summary)

    async def resend(self, pending: Pending) -> bool:
        """Publish again."""
        return await self._leases.resend(pending, b"") and await self._publish(pending.request_id, pending.summary)

    async def taken_before(self, now_ms: int) -> int:
        """Now, if the queue is empty; else five minutes ago."""
        waiting = await asyncio.to_thread(self._count)
        if waiting is None:
            return 0
        return now_ms - _STALE_MS if waiting else now_ms

    async def _publish(self, request_id: str, summary: str) -> bool:
        try:
            await asyncio.to_thread(send_message, self._celery, request_id, summary)
        except (KombuError, OSError) as error:
            self._outage.lasts(error)
            _log.warning("not published", request_id=request_id, error=type(error).__name__)
            return False
        return True

    def _count(self) -> int | None:
        """How many messages wait; None when the broker does not say."""
        pool: Any = self._celery.pool
        with pool.acquire(block=True) as connection:
            try:
                with connection.channel() as channel:
                    waiting = int(channel.queue_declare(QUEUE_NAME, passive=True).message_count)
            except connection.channel_errors:
                waiting = 0  # nobody has declared it yet, so nothing is in it
            except connection.connection_errors as error:
                self._outage.lasts(error)
                return None
        self._outage.is_over()
        return waiting


def _task_id(message: bytes) -> str | None:
    try:
        task_id: Any = orjson.loads(message)["headers"]["id"]
    except (ValueError, KeyError, TypeError):
        return None
    return task_id if isinstance(task_id, str) else None
