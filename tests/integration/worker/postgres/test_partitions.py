"""deploy/postgres/partition-by-business.sql on tables in use: what was there is found, what is new is written once."""

import asyncio

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.conftest import PARTITIONS
from tests.integration.worker.postgres.plans import fetch, outcomes, plan, request, stored
from worker.postgres.engine import driver_connection
from worker.postgres.writer import Writer

pytestmark = pytest.mark.anyio


async def _partition(engine: AsyncEngine) -> None:
    async with driver_connection(engine) as driver:
        await driver.execute(PARTITIONS.read_text())


async def test_tables_in_use_are_partitioned_with_what_they_hold(
    writer: Writer, engine: AsyncEngine, database: str, pytestconfig: pytest.Config
) -> None:
    if pytestconfig.getoption("--partitioned"):
        pytest.skip("they are already")
    first = await writer.write(request(plan(range(1, 6))))
    before = await stored(engine)
    await _partition(engine)
    await engine.dispose()

    assert await stored(engine) == before
    again = await writer.write(request(plan(range(1, 8))))
    assert outcomes(again.report) == ["existing"] * 5 + ["created"] * 2
    assert first.report is not None
    assert again.report is not None
    assert (again.report.data or [])[:5] == first.report.data
    assert await fetch(engine, "SELECT count(*) FROM process_instance_relation") == [(7 * 2,)]


async def test_two_that_write_the_same_at_once_end_as_one(engine: AsyncEngine, pytestconfig: pytest.Config) -> None:
    """The race is known by the name of a constraint, which a part keeps."""
    if not pytestconfig.getoption("--partitioned"):
        await _partition(engine)
        await engine.dispose()
    writers = [Writer(engine) for _ in range(4)]

    written = await asyncio.gather(*(writer.write(request(plan(range(1, 101)))) for writer in writers))

    assert len({tuple(one.report.data or ()) for one in written if one.report is not None}) == 1
    assert sorted(outcomes(one.report)[0] for one in written) == ["created", "existing", "existing", "existing"]
