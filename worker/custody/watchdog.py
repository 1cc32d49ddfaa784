"""Notices that this process hears nothing although the queue is not empty.

A connection can die so that nobody is told, and a consumer can stop without an error; the process then looks alive for
ever. What such a process cannot mend by itself, a new one can.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

import structlog
from redis.exceptions import RedisError

from worker.custody.leases import Leases

_log = structlog.get_logger(__name__)
_LOOKS: Final = 6


class Watchdog:
    """Watches the consumer of one worker process.

    Args:
        leases: on the queue's Redis.
        patience_s: for how long silence is normal.
        redis_serves: whether Redis takes what this process writes. A Redis that refuses everybody proves nothing.
        has_room: whether this process could take another message.
        heard: when the consumer last had an answer from Redis (`time.monotonic`); 0 when it does not say.
    """

    def __init__(
        self,
        leases: Leases,
        patience_s: float,
        *,
        redis_serves: Callable[[], bool],
        has_room: Callable[[], bool],
        heard: Callable[[], float],
    ) -> None:
        self._leases = leases
        self._patience_s = patience_s
        self._redis_serves = redis_serves
        self._has_room = has_room
        self._heard = heard
        self._serves_since = self._stalls_since = time.monotonic()
        self._head: bytes | None = None

    async def run(self) -> None:
        """Return when the consumer is deaf."""
        while not await self.is_deaf():  # noqa: ASYNC110 - it asks Redis
            await asyncio.sleep(self._patience_s / _LOOKS)
        _log.critical("nothing is heard although the queue is not empty", seconds=self._patience_s)

    async def is_deaf(self) -> bool:
        """Look once: either it had no answer for so long, or the same message stood at the queue's head for so long."""
        now = time.monotonic()
        if not self._redis_serves():
            self._serves_since = now
        head = await self._next_message() if self._serves_since < now and self._has_room() else None
        if head is None or head != self._head:
            self._head, self._stalls_since = head, now
        is_silent = 0 < self._heard() < now - self._patience_s and self._serves_since < now - self._patience_s
        return is_silent or (head is not None and now - self._stalls_since >= self._patience_s)

    async def _next_message(self) -> bytes | None:
        try:
            return next(iter(await self._leases.waiting(0, 1)), None)
        except (RedisError, OSError):
            return None
