import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from contract.answer.report import Report
from contract.answer.status import Status
from contract.codes import Code, Refused
from tests.integration.worker.postgres.plans import (
    BIZ,
    MODULE,
    NOW,
    bind,
    counts,
    fetch,
    outcomes,
    plan,
    process,
    request,
    stored,
)
from worker.postgres import ledger
from worker.postgres.draft import WriteRequest
from worker.postgres.engine import driver_connection, transaction
from worker.postgres.errors import DatabaseUnavailable
from worker.postgres.writer import Writer

pytestmark = pytest.mark.anyio

WAITING = "FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


class Abandoned(Exception):
    """Rolls a transaction back."""


def deadline_report(request_id: str) -> Report:
    return Report.failed(
        Refused(Code.DEADLINE_EXCEEDED), [2], request_id=request_id, bk_biz_id=BIZ, bk_module_id=MODULE, created_at=NOW
    )


async def deadlocks(engine: AsyncEngine) -> int:
    ((number,),) = await fetch(engine, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    return int(number)


@asynccontextmanager
async def ending_elsewhere(engine: AsyncEngine, asked: WriteRequest) -> AsyncIterator[None]:
    """Another transaction holds the request's ledger row, uncommitted, for the length of the block."""
    async with driver_connection(engine) as driver, transaction(driver):
        await driver.execute(
            "INSERT INTO request_ledger (request_id, bk_app_code, bk_biz_id, bk_module_id, status, code, report,"
            " attempt, created_at) VALUES ($1, '', $2, $3, 'FAILED', $4, $5, 1, $6)",
            asked.request_id,
            BIZ,
            MODULE,
            int(Code.DEADLINE_EXCEEDED),
            deadline_report(asked.request_id).dump().decode(),
            NOW,
        )
        yield


async def until_waiting(engine: AsyncEngine, sessions: int = 1) -> None:
    """Return once so many sessions wait for another's transaction."""
    async with asyncio.timeout(10):
        while len(await fetch(engine, f"SELECT pid {WAITING}")) < sessions:
            await asyncio.sleep(0)


@pytest.mark.rule(
    "4.5",
    "a write conflict repeats the whole request, at most three times in 10 s",
    ours="rows are taken in one order, so that there is none",
)
async def test_overlapping_requests_in_any_order_never_deadlock(engine: AsyncEngine) -> None:
    chance = random.Random(7)
    processes = [process(number, [bind(row) for row in range(1, number + 1)]) for number in range(1, 5)]
    asked = []
    for _ in range(60):
        hosts = chance.sample(range(1, 21), 8)
        wanted = chance.sample(processes, chance.randint(1, 4))
        asked.append(request(plan(hosts, wanted)))
    writers = [Writer(engine) for _ in range(6)]

    written = await asyncio.gather(*(writers[n % 6].write(one) for n, one in enumerate(asked)))

    assert {one.report.status for one in written if one.report} == {Status.SUCCESS}
    assert await deadlocks(engine) == 0
    # The rows are those that any order would have left: per host the union of what was asked for.
    expected = {
        (planned.bk_host_id, one.process_template_id)
        for sent in asked
        for planned in sent.plan.instances
        for one in planned.processes
    }
    assert set(await fetch(engine, "SELECT bk_host_id, process_template_id FROM process")) == expected
    assert (await counts(engine))["process"] == len(expected)
    assert (await counts(engine))["process_bind_info"] == sum(template for _, template in expected)


async def test_late_attempt_finds_the_request_ended_and_writes_nothing(writer: Writer, engine: AsyncEngine) -> None:
    asked = request(plan([2]))
    await ledger.decide(engine, deadline_report(asked.request_id))

    written = await writer.write(asked)

    assert not written.is_first
    assert written.report == deadline_report(asked.request_id)
    assert (await counts(engine))["service_instance"] == 0
    assert (await counts(engine))["audit_log"] == 0


async def test_attempt_waits_for_an_ending_elsewhere_and_yields_to_it(writer: Writer, engine: AsyncEngine) -> None:
    asked = request(plan([2]))

    async with asyncio.TaskGroup() as tasks, ending_elsewhere(engine, asked):
        writing = tasks.create_task(writer.write(asked))
        await until_waiting(engine)

    assert not writing.result().is_first
    assert writing.result().report == deadline_report(asked.request_id)
    assert (await counts(engine))["service_instance"] == 0


async def test_attempt_goes_on_when_the_ending_elsewhere_is_rolled_back(writer: Writer, engine: AsyncEngine) -> None:
    asked = request(plan([2]))

    async with asyncio.TaskGroup() as tasks:
        with suppress(Abandoned):
            async with ending_elsewhere(engine, asked):
                writing = tasks.create_task(writer.write(asked))
                await until_waiting(engine)
                raise Abandoned

    assert writing.result().is_first
    assert outcomes(writing.result().report) == ["created"]


async def test_ending_waits_for_a_commit_and_yields_to_it(writer: Writer, engine: AsyncEngine) -> None:
    """A deadline that strikes while the rows are being committed answers with the rows."""
    asked = request(plan([2]))

    async with asyncio.TaskGroup() as tasks:
        with suppress(Abandoned):
            # The write holds its ledger row and waits for an instance that somebody else may be about to insert.
            async with driver_connection(engine) as driver, transaction(driver):
                await driver.execute(
                    "INSERT INTO service_instance (id, bk_biz_id, bk_module_id, bk_host_id, instance_key,"
                    " service_template_id, name, creator, modifier, bk_supplier_account, request_id)"
                    " VALUES (500, 1, $1, 2, '', 7, '', '', '', '0', 'x')",
                    MODULE,
                )
                writing = tasks.create_task(writer.write(asked))
                await until_waiting(engine)
                ending = tasks.create_task(ledger.decide(engine, deadline_report(asked.request_id)))
                await until_waiting(engine, sessions=2)
                raise Abandoned

    assert outcomes(writing.result().report) == ["created"]
    assert ending.result().report == writing.result().report


@pytest.mark.rule(
    "V23",
    "making ids, insert, select or update fails: 1199058, 1199018, 1199017, 1199020",
    ours="nothing is written, and a worker tries again; after three starts that ended so it is 1190010",
)
async def test_session_killed_in_mid_statement_leaves_nothing_and_can_be_repeated(
    writer: Writer, engine: AsyncEngine
) -> None:
    asked = request(plan([1, 2, 3]))

    with suppress(Abandoned):
        async with ending_elsewhere(engine, asked):
            writing = asyncio.create_task(writer.write(asked))
            await until_waiting(engine)
            await fetch(engine, f"SELECT pg_terminate_backend(pid) {WAITING}")
            with pytest.raises(DatabaseUnavailable):
                await writing
            assert await stored(engine) == {"service_instance": [], "process": [], "process_bind_info": []}
            raise Abandoned

    assert outcomes((await writer.write(asked)).report) == ["created"] * 3


async def test_request_finds_all_its_instances_as_another_has_left_them(writer: Writer, engine: AsyncEngine) -> None:
    """Whether or not something was missing under each when it first looked.

    The other request gives both instances a process by the name of one that could not be inserted until then.
    """
    first, second = process(1, bound=False), process(2, bound=False)
    blocked = process(9, [bind(1)], bound=False, bk_func_name="java_1")
    await writer.write(request(plan([1], [first, second], keys=["a"])))
    await writer.write(request(plan([2], [first], keys=["a"])))
    asked = request(plan([1, 2], [second, blocked], keys=["a", "a"]))

    async with asyncio.TaskGroup() as tasks, driver_connection(engine) as driver, transaction(driver):
        await driver.execute("SELECT FROM service_instance ORDER BY id FOR UPDATE")
        writing = tasks.create_task(writer.write(asked))
        await until_waiting(engine)
        await driver.execute(
            "INSERT INTO process (bk_process_id, service_instance_id, bk_biz_id, bk_host_id, process_template_id,"
            " bk_process_name, bk_func_name, bk_supplier_account, bk_created_by)"
            " SELECT 900000 + id, id, bk_biz_id, bk_host_id, 0, 'job_9', 'another', '0', '' FROM service_instance"
        )

    assert outcomes(writing.result().report) == ["healed", "healed"]
    rows = await fetch(engine, "SELECT bk_host_id, bk_process_id > 900000 FROM process_bind_info ORDER BY 1")
    assert rows == [(1, True), (2, True)]
