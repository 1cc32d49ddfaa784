from dataclasses import replace

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.integration.worker.postgres.plans import bind, counts, fetch, outcomes, plan, process, request
from worker.postgres import ledger
from worker.postgres.errors import ConstraintViolated
from worker.postgres.writer import Writer, Written

pytestmark = pytest.mark.anyio


async def test_requests_of_a_group_share_a_transaction_and_keep_their_own_reports(
    writer: Writer, engine: AsyncEngine
) -> None:
    asked = [request(plan([host], module=60 + host)) for host in (3, 1, 2)]

    written = await writer.write_group(asked)

    for sent, one in zip(asked, written, strict=True):
        assert isinstance(one, Written)
        assert outcomes(one.report) == ["created"]
        entry = await ledger.load(engine, sent.request_id)
        assert entry is not None
        assert entry.report == one.report
    assert len(await fetch(engine, "SELECT DISTINCT xmin FROM request_ledger")) == 1
    assert (await counts(engine))["audit_log"] == 3


async def test_requests_of_a_group_that_want_the_same_instance_share_it(writer: Writer, engine: AsyncEngine) -> None:
    first, second, third = [request(plan(hosts)) for hosts in ([1, 2], [2, 3], [4])]

    written = await writer.write_group([first, second, third])

    assert [outcomes(one.report) for one in written if isinstance(one, Written)] == [
        ["created", "created"],
        ["existing", "created"],
        ["created"],
    ]
    assert (await counts(engine))["service_instance"] == 4


async def test_one_request_twice_in_a_group_is_written_once(writer: Writer, engine: AsyncEngine) -> None:
    asked = request(plan([1]))

    written = await writer.write_group([asked, replace(asked, attempt=2)])

    assert [one.is_first for one in written if isinstance(one, Written)] == [True, False]
    assert (await counts(engine))["request_ledger"] == 1


async def test_request_that_breaks_a_constraint_does_not_harm_its_group(writer: Writer, engine: AsyncEngine) -> None:
    good, bad, other = (
        request(plan([1])),
        request(plan([2], [process(1, [bind(1)], timeout=10_001, start_cmd="secret-canary")])),
        request(plan([3])),
    )

    written = await writer.write_group([good, bad, other])

    assert [type(one) for one in written] == [Written, ConstraintViolated, Written]
    violated = written[1]
    assert isinstance(violated, ConstraintViolated)
    assert (violated.sqlstate, violated.constraint) == ("23514", "ck_process_timeout")
    assert await fetch(engine, "SELECT bk_host_id FROM service_instance ORDER BY 1") == [(1,), (3,)]
    assert await ledger.load(engine, bad.request_id) is None


@pytest.mark.bad_input(109, "a value in the text of a database's error", "dropped: SQLSTATE and constraint remain")
async def test_error_of_the_database_shows_no_values(writer: Writer) -> None:
    asked = request(plan([2], [process(1, start_cmd="secret-canary", timeout=0)]))

    with pytest.raises(ConstraintViolated) as caught:
        await writer.write(asked)

    told = [caught.value, caught.value.__cause__, caught.value.__context__]
    assert "secret-canary" not in "".join(map(repr, told))
    assert str(caught.value) == "A row breaks a constraint of the schema (SQLSTATE 23514 ck_process_timeout)"


@pytest.mark.rule("4.2", "ids ascend and are never reused; gaps are normal")
async def test_ids_ascend_and_are_never_given_twice(engine: AsyncEngine) -> None:
    writers = [Writer(engine), Writer(engine)]
    seen: list[int] = []
    for round_ in range(24):
        written = await writers[round_ % 2].write(request(plan(range(round_ * 100 + 1, round_ * 100 + 101))))
        assert written.report is not None
        assert written.report.data is not None
        assert written.report.data == sorted(written.report.data)
        seen += written.report.data
    assert len(set(seen)) == 2400
    # A process takes its ids four thousand at a time: two processes with 1,200 instances each have done so once.
    assert await fetch(engine, "SELECT last_value FROM service_instance_id_block") == [(7001,)]


async def test_batch_larger_than_a_block_of_ids_is_written(writer: Writer, engine: AsyncEngine) -> None:
    processes = [process(number, [bind(1)]) for number in range(1, 26)]

    written = await writer.write(request(plan(range(1, 101), processes)))

    assert written.rows == 100 + 2500 + 2500
    assert (await counts(engine))["process"] == 2500
