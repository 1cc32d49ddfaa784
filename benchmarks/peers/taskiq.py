"""taskiq with taskiq-redis, two worker processes, uvloop and orjson. BENCH_BROKER says which broker.

``list``: the list broker, the faster one; a crash loses what a worker has taken. ``stream``: acknowledged messages.
"""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from taskiq import TaskiqEvents, TaskiqState
from taskiq.serializers import ORJSONSerializer
from taskiq_redis import ListQueueBroker, RedisStreamBroker

from benchmarks.peers.answers import connect, listening, store
from benchmarks.peers.job import open_job
from benchmarks.peers.queue_client import QueueClient
from contract.request.parse import parse

_Broker = RedisStreamBroker if os.environ.get("BENCH_BROKER") == "stream" else ListQueueBroker
# Without a time-out: redis-py's default of 5 seconds ends a list broker's listener on the first idle queue.
broker = _Broker(os.environ["BENCH_REDIS_URL"], socket_timeout=None).with_serializer(ORJSONSerializer())


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def start(state: TaskiqState) -> None:
    """Connect, once in each worker process."""
    state.stack = AsyncExitStack()
    state.job = await state.stack.enter_async_context(open_job())
    state.redis = await state.stack.enter_async_context(connect())


@broker.on_event(TaskiqEvents.WORKER_SHUTDOWN)
async def stop(state: TaskiqState) -> None:
    """Disconnect."""
    await state.stack.aclose()


@broker.task
async def create_batch(request_id: str, batch: dict[str, Any]) -> None:
    """The task."""
    answer = await broker.state.job.create(request_id, parse(batch).batch)
    await store(broker.state.redis, request_id, answer)


@asynccontextmanager
async def client() -> AsyncIterator[QueueClient]:
    """Connect to what the environment names."""
    await broker.startup()
    try:
        async with listening() as answers:
            yield QueueClient(create_batch.kiq, answers)
    finally:
        await broker.shutdown()
