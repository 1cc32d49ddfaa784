"""Sends again what is pending and has no owner, and ends what is past its deadline.

One runs in every worker process, so a reaper lives exactly where somebody could do the work; several at once are
harmless, because each push is one script that first looks whether another was first.

A reaper that only looked at age would double a backlog every time it swept. This one uses that the queue is first in,
first out and that an entry's score is the time of its last push: every id pushed before the oldest waiting message has
been taken by somebody. Only such an id, whose lease has run out, is pushed again.
"""

import asyncio
from typing import TYPE_CHECKING

import orjson
import structlog
from celery import Celery
from redis.exceptions import RedisError

from contract.codes import Code
from contract.message import build_message
from contract.settings import Settings
from worker.ending import end_unfinished
from worker.leases import Leases, Pending

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

_log = structlog.get_logger(__name__)


class Reaper:
    """The sweep of one worker process."""

    def __init__(self, store: Leases, engine: "AsyncEngine", celery: Celery, settings: Settings) -> None:
        self._store = store
        self._engine = engine
        self._celery = celery
        self._settings = settings

    async def run(self) -> None:
        """Sweep for ever, every ``reaper_interval_s``."""
        while True:
            await asyncio.sleep(self._settings.reaper_interval_s)
            try:
                await self.sweep()
            except (RedisError, OSError) as error:
                _log.warning("sweep skipped", error=type(error).__name__)

    async def sweep(self) -> int:
        """One pass; returns how many requests were pushed again or ended."""
        store = self._store
        now = await store.now_ms()
        grace = now - self._settings.owner_ttl_ms
        taken_before = min(grace, await self._watermark(now))
        moved = 0
        for pending in await store.pending_before(grace):
            if pending.owner and pending.lease_ms > now:
                continue
            if pending.deadline_ms <= now:
                moved += await end_unfinished(self._store, self._engine, pending.request_id, Code.DEADLINE_EXCEEDED)
            elif pending.pushed_ms < taken_before:
                moved += await self._send_again(pending)
        return moved

    async def _send_again(self, pending: Pending) -> bool:
        message = build_message(self._celery, pending.request_id, pending.summary)
        sent = await self._store.resend(pending, message)
        if sent:
            _log.warning("sent again", request_id=pending.request_id, attempts=pending.attempts)
        return sent

    async def _watermark(self, now: int) -> int:
        """Everything pushed before this moment (ms) has left the queue."""
        waiting = [id_ for id_ in map(_request_id, await self._store.oldest_waiting()) if id_]
        scores = [score for score in await self._store.pushed_ms(waiting) if score is not None]
        return min(scores, default=now)


def _request_id(message: bytes) -> str | None:
    try:
        request_id = orjson.loads(message)["headers"]["id"]
    except (ValueError, KeyError, TypeError):
        return None
    return request_id if isinstance(request_id, str) else None
