"""A worker's parts in this process, over real servers."""

from collections.abc import AsyncIterator

import pytest
import redis as redis_client

from tests.integration.worker.bench import Bench


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def bench(anyio_backend: str, redis_url: str, redis: "redis_client.Redis", database: str) -> AsyncIterator[Bench]:
    bench = Bench(redis, redis_url=redis_url, postgres_dsn=database)
    yield bench
    await bench.close()
