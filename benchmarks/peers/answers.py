"""How a peer's caller gets its answer: the worker stores it in Redis and publishes it, the caller listens.

It takes one round trip of the worker and none of the caller, which is less than what the queues' own result backends
take; the caller is woken instead of asking again and again.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import orjson
import redis.asyncio as aioredis

from benchmarks.client import TIMEOUT_S, Failed

_CHANNEL: Final = "benchmark:done:"
_TTL_S: Final = 86_400

Reader = Callable[[str, bytes], bytes]
"""Channel and message in, the answer's JSON out."""


def connect() -> "aioredis.Redis":
    """To the Redis that the environment names."""
    return aioredis.Redis.from_url(os.environ["BENCH_REDIS_URL"], socket_timeout=None)


async def store(client: "aioredis.Redis", request_id: str, answer: bytes) -> None:
    """Keep the answer for a day, and wake who waits for it."""
    async with client.pipeline(transaction=False) as pipe:
        pipe.set(f"benchmark:result:{request_id}", answer, ex=_TTL_S)
        pipe.publish(_CHANNEL + request_id, answer)
        await pipe.execute()


class Answers:
    """The caller's side."""

    def __init__(self) -> None:
        self._futures: dict[str, asyncio.Future[bytes]] = {}

    def expect(self, request_id: str) -> None:
        """Register before the request is sent, so that no answer is missed."""
        self._futures[request_id] = asyncio.get_running_loop().create_future()

    async def wait(self, request_id: str) -> None:
        """Until the answer is there."""
        answer = await asyncio.wait_for(self._futures[request_id], TIMEOUT_S)
        del self._futures[request_id]
        if orjson.loads(answer)["result"] is not True:
            raise Failed(answer.decode())

    async def listen(self, subscription: Any, prefix: str, read: Reader) -> None:
        """Take answers for as long as the client lives."""
        async for message in subscription.listen():
            if message["type"] != "pmessage":
                continue
            request_id = message["channel"].decode().removeprefix(prefix)
            future = self._futures.get(request_id)
            if future and not future.done():
                future.set_result(read(request_id, message["data"]))


@asynccontextmanager
async def listening(prefix: str = _CHANNEL, read: Reader = lambda _, data: data) -> AsyncIterator[Answers]:
    """Subscribe to all channels with `prefix`, before the first request is sent."""
    answers = Answers()
    async with connect() as client, client.pubsub() as subscription:
        await subscription.psubscribe(f"{prefix}*")
        task = asyncio.create_task(answers.listen(subscription, prefix, read))
        try:
            yield answers
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
