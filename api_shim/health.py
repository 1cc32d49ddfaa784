"""How it stands with what is behind the submitter: Redis, broker, workers, and what was set aside."""

import contextlib
from collections.abc import Awaitable, Sequence

from redis.exceptions import RedisError

from api_shim.refusals import BrokerUnavailable, reaching_redis
from contract.queue import BrokerAway, Queue
from contract.redis.health import Waiting, Workers, look_at_waiting, look_at_workers, write_probe
from contract.redis.requests import Requests


class Health:
    """Of one process. All but `ready` raise `BrokerUnavailable` when Redis does not answer."""

    def __init__(self, requests: Requests, queue: Queue) -> None:
        self.reached = ""
        """Which Redis took the last `ready`'s write; see `contract.redis.health`."""
        self.paused: Sequence[str] = ()
        """Why some workers took no requests when `ready` last asked."""
        self._requests = requests
        self._queue = queue

    async def ready(self) -> dict[str, bool]:
        """What must hold before a submit can end.

        Redis takes a write, the broker answers, a worker was seen lately, and one of those is served by its database.
        """
        redis = await _holds(self._try_redis())
        broker = redis if self._queue.is_beside else await _holds(self._queue.reach())
        workers = Workers(0, {})
        with contextlib.suppress(BrokerUnavailable):
            workers = await self.workers()
        self.paused = sorted(set(workers.paused.values()))
        return {
            "redis": redis,
            "broker": broker,
            "worker": workers.alive > 0,
            "database": workers.can_work,
        }

    async def workers(self) -> Workers:
        """Which worker processes live, and which of them take no requests."""
        return await reaching_redis(look_at_workers(self._requests))

    async def waiting(self) -> Waiting:
        """What waits, and for how long, and what was set aside."""
        return await reaching_redis(look_at_waiting(self._requests, has_queue=self._queue.is_beside))

    async def _try_redis(self) -> None:
        self.reached = ""
        self.reached = await write_probe(self._requests.client, self._requests.keys)


async def _holds(call: Awaitable[object]) -> bool:
    try:
        await call
    except (RedisError, OSError, BrokerAway):
        return False
    return True
