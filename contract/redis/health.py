"""What probes and operators are told of a Redis.

Whether it takes what a submit would write, and which server it is, for a name may lead to another than before; what
waits in it, and for how long, by which the number of workers is chosen; which workers live, and which take nothing.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
import redis.asyncio as aioredis
from redis.exceptions import RedisError

from contract.message import QUEUE_NAME
from contract.redis.records import Keys
from contract.redis.requests import Requests

_PROBE_TTL_S: Final = 10
_LISTS: Final = {priority: f"{QUEUE_NAME}\x06\x16{priority}" if priority else QUEUE_NAME for priority in (0, 3, 6, 9)}
"""By priority, as kombu names them; only foreign senders use others than 0."""


async def write_probe(client: "aioredis.Redis", keys: Keys) -> str:
    """Write a key that is gone in ten seconds; which server took it, as `describe` says it.

    Raises:
        redis.exceptions.RedisError: it does not take it: it is away, a replica, full, or refuses this user.
    """
    async with client.pipeline(transaction=False) as pipe:
        pipe.set(keys.probe, 1, ex=_PROBE_TTL_S)
        pipe.info("server", "replication")
        written, info = await pipe.execute(raise_on_error=False)
    if isinstance(written, RedisError):
        raise written
    return "" if isinstance(info, RedisError) else describe(info)


def describe(info: Mapping[str, Any]) -> str:
    """Product, version, role and the run_id that every start of a server has of its own, from its ``INFO``."""
    product = "Valkey" if "valkey_version" in info else "Redis"
    version = info.get("valkey_version") or info["redis_version"]
    return f"{product} {version}, {info['role']}, port {info['tcp_port']}, run {str(info['run_id'])[:8]}"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Ages are seconds, 0 where nothing waits and not a number where they cannot be told."""

    messages: Mapping[int, int]
    """Of the queue, by priority."""
    oldest_message_s: float
    """Of the message that is taken next."""
    oldest_pending_s: float
    """Of the unfinished request that was put into the queue longest ago."""
    dead_letters: int
    """Messages and requests that were set aside."""
    parked: float
    """Messages for a newer worker; not a number where the queue is on a Redis of its own."""


async def look_at_waiting(requests: Requests, *, has_queue: bool) -> Waiting:
    """Ask for all of it; `has_queue`: the queue is on this Redis.

    Raises:
        redis.exceptions.RedisError: Redis is away.
    """
    now_ms = await requests.now_ms()
    async with requests.client.pipeline(transaction=False) as pipe:
        pipe.zrange(requests.keys.pending, 0, 0, withscores=True)
        pipe.llen(requests.keys.dead_letters)
        pipe.llen(requests.keys.parked)
        for name in _LISTS.values() if has_queue else ():
            pipe.llen(name)
        if has_queue:
            pipe.lrange(QUEUE_NAME, -1, -1)
        oldest, dead_letters, parked, *lengths = await pipe.execute()
    pending_s = _age(now_ms, oldest[0][1]) if oldest else 0.0
    parked = parked if len(requests.settings.redis_servers) == 1 else math.nan
    if not has_queue:
        return Waiting({}, math.nan, pending_s, dead_letters, parked)
    *lengths, head = lengths
    messages, message_s = dict(zip(_LISTS, lengths, strict=True)), await _age_of(requests, head, now_ms)
    return Waiting(messages, message_s, pending_s, dead_letters, parked)


async def _age_of(requests: Requests, head: list[bytes], now_ms: int) -> float:
    """Since a message was pushed, which its pending entry tells; a direct one has none yet."""
    if not head:
        return 0.0
    try:
        request_id: Any = orjson.loads(head[0])["headers"]["id"]
    except (ValueError, KeyError, TypeError):
        return math.nan
    score = await requests.client.zscore(requests.keys.pending, str(request_id))
    return math.nan if score is None else _age(now_ms, score)


def _age(now_ms: int, score: float) -> float:
    return max(now_ms - float(score), 0.0) / 1000


@dataclass(frozen=True, slots=True)
class Workers:
    """The worker processes that gave a sign of life within ``owner_ttl_ms``."""

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
