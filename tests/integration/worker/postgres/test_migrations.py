import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from contract.answer.status import Outcome
from contract.request.batch import PROCESS_PROPERTIES
from tests.integration.worker.postgres.plans import fetch, plan, process, request, stored
from worker.postgres import cmdb_tables, tables  # noqa: F401 - the first adds its own to those of the second
from worker.postgres.errors import ConstraintViolated
from worker.postgres.migrate import upgrade, upgrade_async
from worker.postgres.writer import Writer

pytestmark = pytest.mark.anyio


@pytest.fixture
def empty_database(clone_database: Callable[[str], str]) -> str:
    return clone_database("template1")


def test_eight_upgrades_at_once_take_turns(empty_database: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(upgrade, [empty_database] * 8))

    async def versions() -> list[tuple[str, ...]]:
        connection = await asyncpg.connect(empty_database)
        try:
            return [tuple(row) for row in await connection.fetch("SELECT version_num FROM alembic_version")]
        finally:
            await connection.close()

    assert len(asyncio.run(versions())) == 1


async def test_upgrade_of_a_database_in_use_keeps_what_is_stored(database: str, engine: AsyncEngine) -> None:
    before = (await Writer(engine).write(request(plan([2, 3])))).report
    rows = await stored(engine)
    # Nobody knows any more in which order they were sent; they are shown by their ids, as before.
    rows["process_bind_info"] = [(*row[:-1], 0) for row in rows["process_bind_info"]]
    await fetch(engine, "ALTER TABLE process_bind_info DROP COLUMN position")
    await fetch(engine, "ALTER TABLE catalogue_version DROP COLUMN first_id")
    for column in ("job_id", "job_number", "job_is_last", "outcomes"):
        await fetch(engine, f"ALTER TABLE request_ledger DROP COLUMN {column}")
    await fetch(engine, "DROP TABLE delivery, delivery_call, cmdb_pull, cmdb_gone, cmdb_process, cmdb_instance")
    await fetch(engine, "UPDATE alembic_version SET version_num = '0002'")
    await engine.dispose()

    await upgrade_async(database)

    assert await stored(engine) == rows
    again = (await Writer(engine).write(request(plan([3, 2])))).report
    assert before is not None
    assert again is not None
    assert [item["outcome"] for item in again.items] == [Outcome.EXISTING] * 2
    assert sorted(again.data or ()) == sorted(before.data or ())


async def test_migrated_schema_is_the_one_the_code_knows(engine: AsyncEngine) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), tables.metadata))

    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_migrated_constraints_are_those_the_code_knows(engine: AsyncEngine) -> None:
    """Alembic does not compare check constraints."""
    known = {str(constraint.name) for table in tables.metadata.tables.values() for constraint in table.constraints}

    migrated = await fetch(
        engine,
        "SELECT conname FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n'"
        " AND conrelid <> 'alembic_version'::regclass",
    )

    assert {name for (name,) in migrated} == known


def test_properties_are_the_contracts() -> None:
    assert set(tables.PROCESS_PROPERTIES) == set(PROCESS_PROPERTIES)
    for name, rule in PROCESS_PROPERTIES.items():
        if rule.type == "text":
            assert tables.TEXT_LIMITS[name] == rule.max_bytes
        elif rule.type == "int":
            assert tables.INT_RANGES[name] == (rule.minimum, rule.maximum)
        assert (name in tables.REQUIRED_PROPERTIES) == rule.required


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        ("service_instance", {"bk_module_id", "bk_host_id", "instance_key"}),
        ("process", {"service_instance_id", "bk_process_name"}),
        ("process", {"service_instance_id", "process_template_id"}),
        ("process_bind_info", {"bk_host_id", "bk_process_id", "template_row_id"}),
    ],
)
@pytest.mark.bad_input(39, "a deduplication key with a missing part", "impossible: its columns are NOT NULL")
async def test_natural_key_is_unique_and_cannot_be_null(engine: AsyncEngine, table: str, columns: set[str]) -> None:
    unique = await fetch(
        engine,
        "SELECT array_agg(attname::text), bool_and(attnotnull) FROM pg_index"
        " JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)"
        " WHERE indrelid = $1::text::regclass AND indisunique GROUP BY indexrelid",
        table,
    )

    assert any(set(names) == columns and not_null for names, not_null in unique)


_BAD = {
    **{name: [low - 1, high + 1] for name, (low, high) in tables.INT_RANGES.items()},
    # Limits count bytes: two for each of these letters.
    **{name: ["é" * (limit // 2) + "e"] for name, limit in tables.TEXT_LIMITS.items()},
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in _BAD.items() for value in values])
async def test_property_outside_its_limits_is_refused(writer: Writer, name: str, value: int | str) -> None:
    with pytest.raises(ConstraintViolated) as caught:
        await writer.write(request(plan([2], [process(1, **{name: value})])))

    assert caught.value.constraint == f"ck_process_{name}"


@pytest.mark.parametrize("name", sorted(tables.REQUIRED_PROPERTIES))
async def test_required_text_cannot_be_empty(writer: Writer, name: str) -> None:
    with pytest.raises(ConstraintViolated) as caught:
        await writer.write(request(plan([2], [process(1, **{name: ""})])))

    assert caught.value.constraint == f"ck_process_{name}_not_empty"


async def test_limits_themselves_are_stored(writer: Writer, engine: AsyncEngine) -> None:
    highest: dict[str, object] = {name: "é" * (limit // 2) for name, limit in tables.TEXT_LIMITS.items()}
    lowest: dict[str, object] = {name: low for name, (low, _) in tables.INT_RANGES.items()}
    nulls = dict.fromkeys(set(tables.PROCESS_PROPERTIES) - tables.REQUIRED_PROPERTIES)
    highest |= {name: high for name, (_, high) in tables.INT_RANGES.items()}

    await writer.write(request(plan([2], [process(1, **highest), process(2, **lowest), process(3, **nulls)])))

    assert await fetch(engine, "SELECT count(*) FROM process") == [(3,)]


async def test_null_start_regex_escapes_the_rule_that_an_empty_one_takes_part_in(writer: Writer) -> None:
    """CMDB 4.4."""
    alike = {"bk_func_name": "java"}

    await writer.write(request(plan([2], [process(number, bk_start_param_regex=None, **alike) for number in (1, 2)])))
    with pytest.raises(ConstraintViolated) as caught:
        await writer.write(request(plan([3], [process(1, **alike), process(2, **alike)])))

    assert caught.value.constraint == "uq_process_func_name_start_regex"


@pytest.mark.parametrize(
    ("column", "value", "constraint"),
    [("protocol", "5", "protocol"), ("port", "", "port"), ("port", "1" * 12, "port"), ("ip", "1" * 46, "ip")],
)
async def test_bind_row_outside_its_limits_is_refused(
    engine: AsyncEngine, writer: Writer, column: str, value: str, constraint: str
) -> None:
    await writer.write(request(plan([2])))

    with pytest.raises(IntegrityError, match=f"ck_process_bind_info_{constraint}"):
        async with engine.begin() as connection:
            await connection.execute(text(f"UPDATE process_bind_info SET {column} = '{value}'"))


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("service_template", "(id, bk_biz_id) VALUES (1, 1)"),
        ("process_template", "(id, bk_biz_id, service_template_id, property) VALUES (1, 1, 1, '{}')"),
        ("module", "(bk_module_id, bk_biz_id) VALUES (1, 1)"),
        ("host", "(bk_host_id) VALUES (1)"),
        ("module_host_relation", "(bk_module_id, bk_host_id, bk_biz_id) VALUES (1, 1, 1)"),
    ],
)
async def test_every_change_of_the_catalogue_raises_its_version(engine: AsyncEngine, table: str, row: str) -> None:
    seen = []
    for change in (
        f"INSERT INTO {table} {row}",
        f"UPDATE {table} SET bk_supplier_account = '1'"
        if table != "module_host_relation"
        else f"UPDATE {table} SET bk_set_id = 5",
        f"DELETE FROM {table} WHERE false",
        f"DELETE FROM {table}",
        f"TRUNCATE {table}",
    ):
        await fetch(engine, change)
        ((version,),) = await fetch(engine, "SELECT version FROM catalogue_version")
        seen.append(version)

    start = seen[0]
    # The fourth statement of five changed something, the third did not.
    assert seen == [start, start + 1, start + 1, start + 2, start + 3]
