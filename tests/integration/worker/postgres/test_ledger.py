import asyncio
from datetime import timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from contract.answer.report import Report
from contract.answer.status import Status
from contract.codes import Code, Refused
from tests.integration.worker.postgres.plans import BIZ, MODULE, NOW, counts, fetch, plan, request
from worker.postgres import ledger
from worker.postgres.engine import driver_connection, transaction
from worker.postgres.errors import DatabaseError
from worker.postgres.writer import Writer

pytestmark = pytest.mark.anyio


def refusal(request_id: str, code: Code = Code.MODULE_NOT_FOUND) -> Report:
    return Report.failed(
        Refused(code, "bk_module_id", path="bk_module_id"),
        [2],
        request_id=request_id,
        bk_app_code="esb_test",
        bk_biz_id=BIZ,
        bk_module_id=MODULE,
        created_at=NOW,
        attempts=3,
    )


async def test_request_that_never_ended_is_unknown(engine: AsyncEngine) -> None:
    assert await ledger.load(engine, "0" * 32) is None


async def test_refusal_is_kept_and_loaded(engine: AsyncEngine) -> None:
    entry = await ledger.decide(engine, refusal("a" * 32))

    assert entry == await ledger.load(engine, "a" * 32)
    assert entry.report == refusal("a" * 32)
    assert (entry.status, entry.bk_app_code) == (Status.FAILED, "esb_test")
    columns = "SELECT code, attempt, created_at, bk_biz_id, bk_module_id FROM request_ledger"
    assert await fetch(engine, columns) == [(Code.MODULE_NOT_FOUND, 3, NOW, BIZ, MODULE)]


async def test_second_ending_gets_the_first_ones_report(engine: AsyncEngine) -> None:
    await ledger.decide(engine, refusal("a" * 32))

    entry = await ledger.decide(engine, refusal("a" * 32, Code.CANCELLED))

    assert entry.report == refusal("a" * 32)


async def test_ending_after_success_gets_the_rows(writer: Writer, engine: AsyncEngine) -> None:
    asked = request(plan([2]))
    written = await writer.write(asked)

    entry = await ledger.decide(engine, refusal(asked.request_id, Code.DEADLINE_EXCEEDED))

    assert entry.report == written.report
    assert entry.status is Status.SUCCESS


async def test_end_that_is_taken_back_lets_whoever_waits_end_the_request(engine: AsyncEngine) -> None:
    await ledger.decide(engine, refusal("a" * 32, Code.DEAD_LETTER))
    quick: list[asyncio.Task[ledger.LedgerEntry]] = []

    async def enter() -> bool:
        quick.append(asyncio.create_task(ledger.decide(engine, refusal("a" * 32))))
        while not await fetch(engine, "SELECT FROM pg_locks WHERE NOT granted"):
            await asyncio.sleep(0.01)
        return True

    assert await ledger.reopen(engine, "a" * 32, Code.DEAD_LETTER, enter)

    assert (await quick[0]).report == refusal("a" * 32)


async def test_end_stands_when_it_is_not_taken_back_after_all(engine: AsyncEngine) -> None:
    ended = await ledger.decide(engine, refusal("a" * 32, Code.DEAD_LETTER))

    async def refuse() -> bool:
        return False

    async def fail() -> bool:
        raise ConnectionResetError

    assert not await ledger.reopen(engine, "a" * 32, Code.DEAD_LETTER, refuse)
    with pytest.raises(DatabaseError):
        await ledger.reopen(engine, "a" * 32, Code.DEAD_LETTER, fail)

    assert await ledger.load(engine, "a" * 32) == ended


async def test_only_an_end_with_that_code_is_taken_back(engine: AsyncEngine) -> None:
    ended = await ledger.decide(engine, refusal("a" * 32))

    async def enter() -> bool:
        return True

    assert await ledger.reopen(engine, "a" * 32, Code.DEAD_LETTER, enter)

    assert await ledger.load(engine, "a" * 32) == ended


async def test_purge_leaves_a_skeleton_of_what_is_too_old(writer: Writer, engine: AsyncEngine) -> None:
    old, young = request(plan([1])), request(plan([2]))
    for asked in (old, young):
        await writer.write(asked)
    await fetch(
        engine,
        "UPDATE request_ledger SET finished_at = now() - $1::interval WHERE request_id = $2",
        timedelta(days=31),
        old.request_id,
    )

    assert await ledger.purge(engine, ledger_days=30) == 1
    assert await ledger.purge(engine, ledger_days=30) == 0

    skeleton = await ledger.load(engine, old.request_id)
    assert skeleton is not None
    assert skeleton.report is None
    assert skeleton.status is Status.SUCCESS
    kept = await ledger.load(engine, young.request_id)
    assert kept is not None
    assert kept.report is not None


async def test_message_that_turns_up_after_the_purge_is_not_run_again(writer: Writer, engine: AsyncEngine) -> None:
    asked = request(plan([1]))
    await writer.write(asked)
    await ledger.purge(engine, ledger_days=0)

    written = await writer.write(asked)

    assert not written.is_first
    assert written.report is None
    assert (await counts(engine))["service_instance"] == 1


async def test_purge_of_many_goes_by_batches_the_oldest_first(engine: AsyncEngine) -> None:
    await _fill(engine, 2500)

    assert await ledger.purge(engine, ledger_days=30) == ledger.PURGE_BATCH == 1000
    assert await fetch(engine, "SELECT count(*), max(request_id::int) FROM request_ledger WHERE report IS NULL") == [
        (1000, 1000)
    ]
    assert [await ledger.purge(engine, ledger_days=30) for _ in range(3)] == [1000, 500, 0]
    assert await fetch(engine, "SELECT count(*), count(report) FROM request_ledger") == [(2500, 0)]


async def test_purges_at_once_take_different_reports_and_wait_for_nobody(engine: AsyncEngine) -> None:
    await _fill(engine, 2500)

    async with driver_connection(engine) as driver, transaction(driver):
        await driver.execute("SELECT FROM request_ledger WHERE request_id::int <= 200 FOR UPDATE")
        purged = await asyncio.gather(*(ledger.purge(engine, ledger_days=30) for _ in range(3)))

    assert sum(purged) == 2300
    assert await ledger.purge(engine, ledger_days=30) == 200


async def _fill(engine: AsyncEngine, count: int) -> None:
    """Requests that ended 40 days ago, "1" first."""
    await fetch(
        engine,
        "INSERT INTO request_ledger (request_id, bk_app_code, bk_biz_id, bk_module_id, status, code, report, attempt,"
        " created_at, finished_at) SELECT n::text, '', 1, 1, 'FAILED', 1, '{}', 1, now(),"
        " now() - interval '40 days' + n * interval '1 ms' FROM generate_series(1, $1::int) AS n",
        count,
    )
