"""What property tests share: one event loop and one engine for all their examples."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from worker.postgres.engine import create_engine

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture
def run() -> Iterator[Run]:
    """One event loop for all examples of a test."""
    with asyncio.Runner() as runner:
        yield runner.run


@pytest.fixture
def example_engine(run: Run, database: str) -> Iterator[AsyncEngine]:
    """An engine in the loop of `run`, on a migrated database of this test's own."""
    engine = create_engine(database)
    yield engine
    run(engine.dispose())
