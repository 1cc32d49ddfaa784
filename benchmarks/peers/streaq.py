"""streaq, two worker processes. Its jobs are acknowledged: a crash delivers them again."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import redis.asyncio as aioredis
from streaq import Worker

from benchmarks.peers.answers import connect, listening, store
from benchmarks.peers.job import GroupedJob, open_job
from benchmarks.peers.queue_client import QueueClient
from contract.request.parse import parse


@dataclass(frozen=True)
class Context:
    """What a worker process has."""

    job: GroupedJob
    redis: "aioredis.Redis"


@asynccontextmanager
async def lifespan() -> AsyncIterator[Context]:
    """Connect, once in each worker process."""
    async with open_job() as job, connect() as redis:
        yield Context(job, redis)


worker = Worker(redis_url=os.environ["BENCH_REDIS_URL"], lifespan=lifespan, concurrency=32)


# ttl=0: the answer is stored by the task itself, so streaq need not keep a result as well.
@worker.task(ttl=0)
async def create_batch(request_id: str, batch: dict[str, Any]) -> None:
    """The task."""
    answer = await worker.context.job.create(request_id, parse(batch).batch)
    await store(worker.context.redis, request_id, answer)


@asynccontextmanager
async def client() -> AsyncIterator[QueueClient]:
    """Connect to what the environment names."""

    async def enqueue(request_id: str, batch: dict[str, Any]) -> None:
        await create_batch.enqueue(request_id, batch)

    async with worker, listening() as answers:
        yield QueueClient(enqueue, answers)
