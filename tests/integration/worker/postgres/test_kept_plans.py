"""Plans are kept for the life of a connection. None that was made on empty tables may turn into full scans later.

The evidence is PostgreSQL's own count of index entries and rows read, not a clock.
"""

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.integration.worker.postgres.plans import fetch, outcomes, plan, request
from worker.postgres.catalogue_reads import Catalogue
from worker.postgres.engine import create_engine, driver_connection
from worker.postgres.writer import Writer

pytestmark = pytest.mark.anyio

TABLES = ("service_instance", "process", "process_bind_info", "request_ledger")


async def scans(engine: AsyncEngine) -> dict[str, tuple[int, int]]:
    """Per table: sequential scans, and rows that they or an index scan touched."""
    await fetch(engine, "SELECT pg_stat_force_next_flush()")
    rows = await fetch(
        engine,
        "SELECT t.relname, seq_scan, seq_tup_read + coalesce(sum(idx_tup_read), 0)::bigint"
        " FROM pg_stat_user_tables t JOIN pg_stat_user_indexes i USING (relid) GROUP BY 1, 2, seq_tup_read",
    )
    return {table: (seq_scans, touched) for table, seq_scans, touched in rows}


async def write_batches(writer: Writer, count: int, first_host: int = 1) -> None:
    for number in range(count):
        start = first_host + number * 100
        written = await writer.write(request(plan(range(start, start + 100))))
        assert outcomes(written.report) == ["created"] * 100


async def test_foreign_keys_are_checked_by_index_though_the_tables_were_analyzed_when_empty(database: str) -> None:
    engine = create_engine(database, connections=1)
    writer = Writer(engine)
    await writer.write(request(plan([1])))
    await fetch(engine, "ANALYZE")
    # More than the five executions after which a plan is kept.
    await write_batches(writer, 8, first_host=100)
    before = await scans(engine)

    await write_batches(writer, 3, first_host=5_000)

    after = await scans(engine)
    for table in TABLES:
        assert after[table][0] == before[table][0], table
    # One look per process and one per bind row; a scan would have touched thousands each time.
    assert after["service_instance"][1] - before["service_instance"][1] <= 3 * 300
    assert after["process"][1] - before["process"][1] <= 3 * 400
    await engine.dispose()


async def test_the_trap_is_real_without_the_workers_setting(database: str) -> None:
    """The negative control: the counters above would show it."""
    engine = create_engine(database, connections=1)
    writer = Writer(engine)
    await fetch(engine, "SET enable_seqscan = on")
    await writer.write(request(plan([1])))
    await fetch(engine, "ANALYZE")
    before = await scans(engine)

    await write_batches(writer, 1, first_host=100)

    after = await scans(engine)
    assert after["process"][0] - before["process"][0] >= 400
    await engine.dispose()


async def test_new_requests_look_up_their_own_keys_only_however_many_instances_there_are(database: str) -> None:
    engine = create_engine(database, connections=1)
    writer = Writer(engine)
    await write_batches(writer, 8)
    before = await scans(engine)

    for host in range(10_000, 10_020):
        await writer.write(request(plan([host])))

    after = await scans(engine)
    assert after["service_instance"][1] - before["service_instance"][1] <= 20 * 4
    await engine.dispose()


async def test_repeats_read_their_own_rows_only(database: str) -> None:
    engine = create_engine(database, connections=1)
    writer = Writer(engine)
    for _ in range(8):
        await writer.write(request(plan([1])))
    await write_batches(writer, 8, first_host=100)
    before = await scans(engine)

    for host in range(100, 120):
        assert outcomes((await writer.write(request(plan([host])))).report) == ["existing"]

    after = await scans(engine)
    assert after["service_instance"][1] - before["service_instance"][1] <= 20 * 4
    assert after["process"][1] - before["process"][1] <= 20 * 4
    assert after["process_bind_info"][1] - before["process_bind_info"][1] <= 20 * 8
    await engine.dispose()


async def test_catalogue_of_100000_hosts_and_5000_modules_is_read_by_the_row(database: str) -> None:
    engine = create_engine(database, connections=1)
    catalogue = Catalogue(engine, check_ms=0)
    for module in range(8):
        await catalogue.slice(1, module, [1])
    async with driver_connection(engine) as driver:
        # Half of the hosts are in one module, which must not be read as a whole either.
        await driver.execute(
            "INSERT INTO module (bk_module_id, bk_biz_id) SELECT n, 1 FROM generate_series(1, 5000) AS n;"
            "INSERT INTO host (bk_host_id) SELECT n FROM generate_series(1, 100000) AS n;"
            "INSERT INTO module_host_relation (bk_module_id, bk_host_id, bk_biz_id)"
            " SELECT CASE WHEN n % 2 = 0 THEN 1 ELSE 1 + n % 5000 END, n, 1 FROM generate_series(1, 100000) AS n"
        )
    before = await scans(engine)

    for number in range(10):
        found = await catalogue.slice(1, 1, range(200 * number + 2, 200 * number + 202, 2))
        assert len(found.hosts) == 100

    after = await scans(engine)
    for table in ("module", "host", "module_host_relation"):
        assert after[table][0] == before[table][0], table
        assert after[table][1] - before[table][1] <= 10 * 110, table
    await engine.dispose()


async def test_purge_finds_old_reports_by_index(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        rows = await connection.execute(
            text("EXPLAIN SELECT request_id FROM request_ledger WHERE report IS NOT NULL AND finished_at < now()")
        )
        assert "ix_request_ledger_finished_at" in "".join(row[0] for row in rows)
