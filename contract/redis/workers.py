"""Which worker processes live, and which of them take nothing: what operators and probes are told."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contract.redis.requests import Requests


@dataclass(frozen=True, slots=True)
class Workers:
    """Those that gave a sign of life within ``owner_ttl_ms``."""

    alive: int
    paused: Mapping[str, str]
    """Of those, the ones that take no requests, each with the reason."""

    @property
    def can_work(self) -> bool:
        """Whether one of them takes requests."""
        return self.alive > len(self.paused)


async def look_at_workers(requests: Requests) -> Workers:
    """Ask for all of it.

    Raises:
        redis.exceptions.RedisError: Redis is away.
    """
    now = await requests.now_ms()
    async with requests.client.pipeline(transaction=False) as pipe:
        # What is ahead of now was written before the clock was put back, and says nothing.
        pipe.zrange(requests.keys.workers, now - requests.settings.owner_ttl_ms, now + 1000, byscore=True)
        pipe.hgetall(requests.keys.paused)
        names, paused = await pipe.execute()
    return _workers({name.decode() for name in names}, paused)


def _workers(alive: set[str], paused: Mapping[Any, Any]) -> Workers:
    reasons = {name.decode(): reason.decode(errors="replace") for name, reason in paused.items()}
    return Workers(len(alive), {name: reason for name, reason in reasons.items() if name in alive})
