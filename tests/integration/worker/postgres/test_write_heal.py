import asyncio
from collections.abc import Mapping
from dataclasses import replace

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from contract.answer.report import Report
from contract.codes import Reason
from tests.integration.worker.postgres.plans import (
    bind,
    counts,
    fetch,
    outcomes,
    plan,
    process,
    request,
    stored,
    two_by_two,
)
from worker.expand.plan import Plan
from worker.expand.reconcile import ExistingInstance
from worker.postgres.engine import driver_connection
from worker.postgres.existing import NaturalKey, read_existing
from worker.postgres.rows import read_instance
from worker.postgres.writer import Writer

pytestmark = pytest.mark.anyio


def process_outcomes(report: Report | None, index: int = 0) -> list[str]:
    assert report is not None
    return [process["outcome"].value for process in report.items[index]["processes"]]


async def test_missing_process_is_added(writer: Writer, engine: AsyncEngine) -> None:
    first, second = two_by_two()
    await writer.write(request(plan([2], [first])))
    before = await stored(engine)

    healing = request(plan([2], [first, second]))
    written = await writer.write(healing)

    assert outcomes(written.report) == ["healed"]
    assert process_outcomes(written.report) == ["existing", "created"]
    assert written.report is not None
    assert written.report.data == [1]
    assert written.rows == 1 + 2
    after = await stored(engine)
    for table, rows in before.items():
        assert after[table][: len(rows)] == rows
    assert await fetch(
        engine, "SELECT created_ids, healed_ids FROM audit_log ORDER BY request_id = $1", healing.request_id
    ) == [
        ([1], []),
        ([], [1]),
    ]
    assert outcomes((await writer.write(request(plan([2], [first, second])))).report) == ["existing"]


async def test_missing_bind_row_is_added(writer: Writer, engine: AsyncEngine) -> None:
    first, second = two_by_two()
    await writer.write(request(plan([2], [replace(first, bind_info=first.bind_info[:1]), second])))

    written = await writer.write(request(plan([2], [first, second])))

    assert outcomes(written.report) == ["healed"]
    assert process_outcomes(written.report) == ["healed", "existing"]
    assert written.rows == 1
    assert await fetch(engine, "SELECT bk_process_id, template_row_id FROM process_bind_info ORDER BY 1, 2") == [
        (1, 1),
        (1, 2),
        (2, 1),
        (2, 2),
    ]


async def test_half_created_past_is_completed(writer: Writer, engine: AsyncEngine) -> None:
    """An instance without processes, and a process without bind rows, as another writer may have left them."""
    await writer.write(request(plan([2, 3], [replace(process(1), bind_info=())])))
    await fetch(engine, "DELETE FROM process WHERE bk_host_id = 2")

    written = await writer.write(request(plan([2, 3, 4])))

    assert outcomes(written.report) == ["healed", "healed", "created"]
    assert process_outcomes(written.report, 0) == ["created", "created"]
    assert process_outcomes(written.report, 1) == ["healed", "created"]
    assert await counts(engine) == {
        "service_instance": 3,
        "process": 6,
        "process_bind_info": 12,
        "audit_log": 2,
        "request_ledger": 2,
    }


async def test_differing_content_is_named_and_left_alone(writer: Writer, engine: AsyncEngine) -> None:
    first, second = two_by_two()
    await writer.write(request(plan([2], [first, second])))
    before = await stored(engine)
    other = replace(
        first,
        values={**first.values, "timeout": 99, "start_cmd": "secret-canary"},
        bind_info=(bind(1, "9999"), bind(2)),
    )

    written = await writer.write(request(plan([2], [other, second])))

    assert outcomes(written.report) == ["existing"]
    assert written.report is not None
    warnings = written.report.items[0]["warnings"]
    assert {warning["path"] for warning in warnings} == {
        "instances[0].processes[0].process_info.start_cmd",
        "instances[0].processes[0].process_info.timeout",
        "instances[0].processes[0].process_info.bind_info[template_row_id=1].port",
    }
    assert {warning["reason"] for warning in warnings} == {Reason.DIFFERS}
    assert b"secret-canary" not in written.report.dump()
    assert await stored(engine) == before


async def test_name_held_by_another_process_blocks_only_that_process(writer: Writer, engine: AsyncEngine) -> None:
    await writer.write(request(plan([2], [process(8, bk_process_name="job_1")])))

    written = await writer.write(request(plan([2])))

    assert outcomes(written.report) == ["healed"]
    assert process_outcomes(written.report) == ["skipped", "created"]
    assert await fetch(engine, "SELECT bk_process_name FROM process ORDER BY 1") == [("job_1",), ("job_2",)]


async def test_twenty_workers_heal_one_past_once(writer: Writer, engine: AsyncEngine) -> None:
    first, second = two_by_two()
    hosts = [1, 2, 3, 4, 5]
    await writer.write(request(plan(hosts, [replace(first, bind_info=first.bind_info[:1])])))
    asked = [request(plan(hosts[::-1] if number % 2 else hosts, [first, second])) for number in range(20)]

    written = await asyncio.gather(*(Writer(engine).write(one) for one in asked))

    assert sum(one.rows for one in written) == 5 * (1 + 1 + 2)
    answered = {
        frozenset(
            (item["bk_host_id"], item["service_instance_id"], *(made["bk_process_id"] for made in item["processes"]))
            for item in one.report.items
        )
        for one in written
        if one.report
    }
    assert len(answered) == 1
    assert (await counts(engine))["process"] == 10
    assert (await counts(engine))["process_bind_info"] == 20


async def test_two_workers_with_different_halves_heal_both(engine: AsyncEngine) -> None:
    """Each knows a process that the other does not: whoever comes second adds its own and keeps the other's."""
    processes = [process(number, [bind(1)]) for number in range(1, 7)]
    await Writer(engine).write(request(plan([1, 2], processes[:1])))

    await asyncio.gather(
        *(Writer(engine).write(request(plan([1, 2][:: number % 2 or -1], processes[number:]))) for number in range(6))
    )

    assert (await counts(engine))["process"] == 12
    assert (await counts(engine))["process_bind_info"] == 12


@pytest.mark.bad_input(67, "text that looks like something else", "stored as it is")
async def test_text_with_every_awkward_character_is_stored_verbatim(writer: Writer, engine: AsyncEngine) -> None:
    awkward = 'a"b\\c{d},e\'f\n\t NULL 中文 🐟 \\\\ "" $1 %s'
    asked = plan([2], [process(1, [bind(1)], bound=False, start_cmd=awkward)], keys=[awkward])
    asked = replace(asked, instances=(replace(asked.instances[0], name=awkward),))

    await writer.write(request(asked))

    assert await fetch(engine, "SELECT instance_key, name FROM service_instance") == [(awkward, awkward)]
    assert await fetch(engine, "SELECT start_cmd FROM process") == [(awkward,)]
    assert outcomes((await writer.write(request(asked))).report) == ["existing"]


async def test_bind_rows_stay_in_the_order_in_which_they_were_asked_for(writer: Writer, engine: AsyncEngine) -> None:
    """Also where one of them was lost and is added again (CMDB 3.5, 4.1)."""
    asked = plan([2], [process(1, (bind(9), bind(3), bind(5)))])
    (id_,) = (await writer.write(request(asked))).report.data  # type: ignore[union-attr, misc]
    await fetch(engine, "DELETE FROM process_bind_info WHERE template_row_id = 3")

    await writer.write(request(asked))

    stored_again = await read_instance(engine, id_)
    assert stored_again is not None
    (pair,) = stored_again["process_instances"]
    assert [row["template_row_id"] for row in pair["process"]["bind_info"]] == [9, 3, 5]
    ((found,),) = [one.processes for one in (await _existing(engine, asked)).values()]
    assert [row.template_row_id for row in found.bind_info] == [9, 3, 5]


async def _existing(engine: AsyncEngine, asked: Plan) -> Mapping[NaturalKey, ExistingInstance]:
    async with driver_connection(engine) as driver:
        return await read_existing(driver, request(asked).natural_keys())
