"""What waits, and for how long: what operators are shown and what the number of workers is chosen by."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from contract.message import QUEUE_NAME
from contract.redis.requests import Requests

_LISTS: Final = {priority: f"{QUEUE_NAME}\x06\x16{priority}" if priority else QUEUE_NAME for priority in (0, 3, 6, 9)}
"""By priority, as kombu names them; only foreign senders use others than 0."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Ages are seconds, 0 where nothing waits and not a number where they cannot be told."""

    messages: Mapping[int, int]
    """Of the queue, by priority."""
    oldest_message_s: float
    """Of the message that is taken next."""
    oldest_pending_s: float
    """Of the unfinished request that was put into the queue longest ago."""


async def look_at_waiting(requests: Requests, *, has_queue: bool) -> Waiting:
    """Ask for all of it; `has_queue`: the queue is on this Redis.

    Raises:
        redis.exceptions.RedisError: Redis is away.
    """
    now_ms = await requests.now_ms()
    async with requests.client.pipeline(transaction=False) as pipe:
        pipe.zrange(requests.keys.pending, 0, 0, withscores=True)
        for name in _LISTS.values() if has_queue else ():
            pipe.llen(name)
        if has_queue:
            pipe.lrange(QUEUE_NAME, -1, -1)
        oldest, *lengths = await pipe.execute()
    pending_s = _age(now_ms, oldest[0][1]) if oldest else 0.0
    if not has_queue:
        return Waiting({}, math.nan, pending_s)
    *lengths, head = lengths
    return Waiting(dict(zip(_LISTS, lengths, strict=True)), await _age_of(requests, head, now_ms), pending_s)


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
