"""An engine and a writer on a database of the test's own."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from worker.postgres.engine import create_engine
from worker.postgres.writer import Writer


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def engine(anyio_backend: str, database: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(database, connections=8)
    yield engine
    await engine.dispose()


@pytest.fixture
def writer(engine: AsyncEngine) -> Writer:
    return Writer(engine)
