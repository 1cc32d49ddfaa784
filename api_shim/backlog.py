"""What is unfinished and how fast it drains, for an honest ``Retry-After``."""

import time
from collections.abc import Callable
from typing import Any, Final

from api_shim.refusals import reaching_redis
from contract.redis.requests import Requests

_MIN_RETRY_AFTER_S: Final = 1.0
_MAX_RETRY_AFTER_S: Final = 300.0
_DRAIN_WINDOW_S: Final = 1.0
_FRESH_S: Final = 0.5


class DrainRate:
    """Finished requests per second, smoothed, from a counter that is looked at now and then."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: tuple[float, int] | None = None
        self._per_second: float | None = None

    @property
    def is_due(self) -> bool:
        """Whether another reading would tell anything."""
        return self._seen is None or self._clock() - self._seen[0] >= _DRAIN_WINDOW_S

    def observe(self, finished: int) -> None:
        """Take a reading of the counter."""
        now = self._clock()
        if self._seen is None or finished < self._seen[1]:
            self._seen = (now, finished)
            return
        elapsed = now - self._seen[0]
        if elapsed < _DRAIN_WINDOW_S:
            return
        rate = (finished - self._seen[1]) / elapsed
        self._per_second = rate if self._per_second is None else 0.5 * self._per_second + 0.5 * rate
        self._seen = (now, finished)

    def seconds_for(self, pending: int) -> float:
        """How long `pending` requests take at the measured rate, within 1 and 300 seconds; 1 before any measurement."""
        if pending == 0 or self._per_second is None:
            return _MIN_RETRY_AFTER_S
        if self._per_second == 0:
            return _MAX_RETRY_AFTER_S
        return min(max(pending / self._per_second, _MIN_RETRY_AFTER_S), _MAX_RETRY_AFTER_S)


class Backlog:
    """The unfinished requests, as one process sees them. Every method raises `BrokerUnavailable` as `poll` does."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._rate = DrainRate()
        self._pending = 0
        self._read_at = -_FRESH_S

    async def count(self) -> int:
        """How many there are now."""
        pending, finished = await reaching_redis(self._look())
        self._rate.observe(int(finished or 0))
        self._pending, self._read_at = int(pending), time.monotonic()
        return self._pending

    async def _look(self) -> list[Any]:
        async with self._requests.client.pipeline(transaction=False) as pipe:
            pipe.zcard(self._requests.keys.pending)
            pipe.get(self._requests.keys.finished_count)
            return await pipe.execute()

    async def retry_after(self) -> float:
        """In how many seconds it is worth asking again. Redis is asked at most twice a second."""
        if time.monotonic() - self._read_at > _FRESH_S:
            await self.count()
        return self._rate.seconds_for(self._pending)

    async def seconds_for(self, pending: int) -> float:
        """How long so many take, measured anew at most once a second: a flood must not ask Redis twice."""
        if self._rate.is_due:
            await self.count()
        return self._rate.seconds_for(pending)
