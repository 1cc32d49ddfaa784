import asyncio
from dataclasses import replace

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from contract.answer.status import Status, item_problem
from contract.codes import Code
from tests.integration.worker.postgres.plans import (
    CALLER,
    MODULE,
    bind,
    counts,
    fetch,
    outcomes,
    plan,
    process,
    request,
    stored,
)
from worker.expand.naming import unbound_key
from worker.postgres import ledger
from worker.postgres.writer import Writer

pytestmark = pytest.mark.anyio


@pytest.mark.rule(
    "V24",
    "the audit record cannot be written: 1109001, and nothing is stored",
    ours="it is part of the statement that writes the rows, and fails with it as in V23",
)
@pytest.mark.rule("A32", "no partial success: one transaction for the whole request", ours="so unless mode is partial")
async def test_fresh_request_creates_every_row_in_one_transaction(writer: Writer, engine: AsyncEngine) -> None:
    asked = request(plan([2, 3]))

    written = await writer.write(asked)

    assert written.is_first
    assert written.rows == 2 + 4 + 8
    assert outcomes(written.report) == ["created", "created"]
    assert written.report is not None
    assert written.report.data == [1, 2]
    assert [p["bk_process_id"] for item in written.report.items for p in item["processes"]] == [1, 2, 3, 4]
    assert await counts(engine) == {
        "service_instance": 2,
        "process": 4,
        "process_bind_info": 8,
        "audit_log": 1,
        "request_ledger": 1,
    }
    made_by = await fetch(
        engine,
        "SELECT s.xmin FROM service_instance s UNION SELECT xmin FROM process UNION SELECT xmin FROM process_bind_info"
        " UNION SELECT xmin FROM audit_log UNION SELECT xmin FROM request_ledger",
    )
    assert len(made_by) == 1


@pytest.mark.rule(
    "4.1", "service instance, processes and relations with their ids, business, supplier account, operator and times"
)
async def test_fresh_rows_hold_what_was_planned(writer: Writer, engine: AsyncEngine) -> None:
    asked = request(plan([2], [process(1, [bind(4, "80-90")], priority=-100, start_cmd="./run 'x' ; \"y\"")]))

    await writer.write(asked)

    rows = await stored(engine)
    columns = ("id", "bk_biz_id", "bk_module_id", "bk_host_id", "instance_key", "service_template_id", "name")
    assert rows["service_instance"][0][:7] == (1, 1, MODULE, 2, "", 7, "10.0.0.2_job_1_8001"), columns
    assert await fetch(
        engine, "SELECT creator, modifier, bk_supplier_account, request_id, labels FROM service_instance"
    ) == [("admin", "admin", "0", asked.request_id, None)]
    assert await fetch(
        engine,
        "SELECT bk_process_name, bk_func_name, bk_start_param_regex, priority, start_cmd, timeout, proc_num,"
        " auto_start, auto_time_gap, bk_func_id, bk_created_by FROM process",
    ) == [("job_1", "java_1", "", -100, "./run 'x' ; \"y\"", 30, None, False, None, "", "admin")]
    assert rows["process_bind_info"] == [(2, 1, 4, "127.0.0.1", "80-90", "1", True, 0)]
    assert await fetch(engine, "SELECT * FROM process_instance_relation") == [(1, 1, 1, 1, 2, "0")]


@pytest.mark.rule(
    "4.6",
    "one audit record for each service instance, in the same transaction",
    ours="one for each request, naming them",
)
async def test_audit_names_who_wrote_what(writer: Writer, engine: AsyncEngine) -> None:
    asked = request(plan([2, 3]))
    await writer.write(asked)

    audit = await fetch(
        engine,
        "SELECT request_id, operator, bk_app_code, bk_biz_id, bk_module_id, action, created_ids, healed_ids"
        " FROM audit_log",
    )

    assert audit == [(asked.request_id, "admin", "esb_test", 1, MODULE, "create", [1, 2], [])]


async def test_ledger_keeps_the_report_that_was_answered(writer: Writer, engine: AsyncEngine) -> None:
    asked = request(plan([2]), attempt=2)

    written = await writer.write(asked)

    entry = await ledger.load(engine, asked.request_id)
    assert entry is not None
    assert entry.report == written.report
    assert (entry.status, entry.bk_app_code) == (Status.SUCCESS, CALLER.bk_app_code)
    assert await fetch(engine, "SELECT code, attempt FROM request_ledger") == [(0, 2)]


@pytest.mark.rule(
    "A30", "the same request again is 1113016 or a second set of rows", ours="completed, same ids, no new rows"
)
async def test_same_rows_under_another_request_id_give_the_same_ids(writer: Writer, engine: AsyncEngine) -> None:
    first = await writer.write(request(plan([2, 3])))
    before = await stored(engine)

    second = await writer.write(request(plan([3, 2])))

    assert second.is_first
    assert second.rows == 0
    assert outcomes(second.report) == ["existing", "existing"]
    assert first.report is not None
    assert second.report is not None
    assert first.report.data is not None
    assert second.report.data == first.report.data[::-1]
    assert await stored(engine) == before
    # Nothing was written, so there is nothing to audit; the ledger knows both.
    assert (await counts(engine))["audit_log"] == 1
    assert (await counts(engine))["request_ledger"] == 2


@pytest.mark.rule(
    "A30", "the same request again is 1113016 or a second set of rows", ours="completed, same ids, no new rows"
)
async def test_same_message_again_answers_from_the_ledger(writer: Writer, engine: AsyncEngine) -> None:
    asked = request(plan([2]))
    first = await writer.write(asked)
    before = await stored(engine), await counts(engine)

    second = await writer.write(replace(asked, attempt=2))

    assert not second.is_first
    assert second.report == first.report
    assert (await stored(engine), await counts(engine)) == before


async def test_half_new_request_creates_only_the_new_half(writer: Writer, engine: AsyncEngine) -> None:
    await writer.write(request(plan([2])))

    written = await writer.write(request(plan([1, 2, 3])))

    assert outcomes(written.report) == ["created", "existing", "created"]
    assert written.rows == 2 * 7
    assert (await counts(engine))["service_instance"] == 3


@pytest.mark.rule(
    "2.3",
    "two parallel requests can both create the instance of one module and host",
    ours="unique constraints: one set of rows, and both answer its ids",
)
async def test_twenty_concurrent_repeats_create_one_set_of_rows(engine: AsyncEngine) -> None:
    hosts = list(range(1, 11))
    asked = [request(plan(hosts if number % 2 else hosts[::-1])) for number in range(20)]
    # Each with a writer of its own, as if each were another worker process with its own ids.
    written = await asyncio.gather(*(Writer(engine).write(one) for one in asked))

    ids = {
        frozenset((item["bk_host_id"], item["service_instance_id"]) for item in one.report.items)
        for one in written
        if one.report
    }
    assert len(ids) == 1
    assert {outcome for one in written for outcome in outcomes(one.report)} == {"created", "existing"}
    assert sum(one.rows for one in written) == 10 * 7
    assert await counts(engine) == {
        "service_instance": 10,
        "process": 20,
        "process_bind_info": 40,
        "audit_log": 1,
        "request_ledger": 20,
    }


async def test_same_message_twenty_times_at_once_is_written_once(engine: AsyncEngine) -> None:
    asked = request(plan([1, 2, 3]))

    written = await asyncio.gather(*(Writer(engine).write(asked) for _ in range(20)))

    assert [one.is_first for one in written].count(True) == 1
    assert len({one.report.dump() for one in written if one.report}) == 1
    assert (await counts(engine))["service_instance"] == 3
    assert (await counts(engine))["request_ledger"] == 1


async def test_one_host_twice_in_one_request_gives_one_id_twice(writer: Writer, engine: AsyncEngine) -> None:
    asked = plan([2, 2])
    asked = replace(asked, instances=(asked.instances[0], replace(asked.instances[1], duplicate_of=0)))

    written = await writer.write(request(asked))

    assert outcomes(written.report) == ["created", "existing"]
    assert written.report is not None
    assert written.report.data == [1, 1]
    assert (await counts(engine))["service_instance"] == 1


@pytest.mark.rule("A29", "unbound: one host may have several instances", ours="by name; unnamed ones are named by 4.3")
async def test_unbound_module_keeps_instances_of_one_host_apart_by_key(writer: Writer, engine: AsyncEngine) -> None:
    processes = [process(1, [bind(1)], bound=False), process(2, bound=False)]

    first = await writer.write(request(plan([2, 2], processes, keys=["web", "db"])))
    second = await writer.write(request(plan([2, 2], processes, keys=["db", "cache"])))

    assert outcomes(first.report) == ["created", "created"]
    assert outcomes(second.report) == ["existing", "created"]
    assert await fetch(engine, "SELECT instance_key, id FROM service_instance ORDER BY id") == [
        ("web", 1),
        ("db", 2),
        ("cache", second.report.data[1] if second.report and second.report.data else None),
    ]
    assert await fetch(engine, "SELECT DISTINCT process_template_id FROM process") == [(0,)]


async def test_name_longer_than_an_index_takes_is_stored_whole_and_found_again(
    writer: Writer, engine: AsyncEngine
) -> None:
    addresses = ",".join(f"10.{number * 7 % 251}.{number * 13 % 251}.{number}" for number in range(250))
    asked = [plan([2], keys=[unbound_key(f"{addresses}_{process}")]) for process in ("nginx", "redis", "nginx")]
    named = [replace(one, instances=(replace(one.instances[0], name=f"{addresses}_x"),)) for one in asked]

    written = [await writer.write(request(one)) for one in named]

    assert [outcomes(one.report) for one in written] == [["created"], ["created"], ["existing"]]
    assert await fetch(engine, "SELECT name FROM service_instance") == [(f"{addresses}_x",)] * 2


@pytest.mark.rule(
    "A29", "a second instance on one host exists in unbound modules only", ours="asked for by on_existing=clone"
)
async def test_clones_are_new_each_time_but_not_on_redelivery(writer: Writer, engine: AsyncEngine) -> None:
    processes = [process(1, [bind(1)], bound=False)]
    clone = request(plan([2], processes, keys=["a" * 32 + "/0"]), "a" * 32, on_existing="clone")
    other = request(plan([2], processes, keys=["b" * 32 + "/0"]), "b" * 32, on_existing="clone")

    for asked in (clone, other, clone):
        await writer.write(asked)

    assert (await counts(engine))["service_instance"] == 2


@pytest.mark.rule(
    "V17",
    "bound, and the host has a service instance of the module already: 1113016 with the host's inner IP",
    ours="only under on_existing=fail; by default the existing instance is the answer",
)
@pytest.mark.parametrize("mode", ["atomic", "partial"])
async def test_on_existing_fail_refuses_what_exists(writer: Writer, engine: AsyncEngine, mode: str) -> None:
    await writer.write(request(plan([2])))
    before = await stored(engine)
    asked = request(plan([1, 2]), on_existing="fail", mode=mode)

    written = await writer.write(asked)

    assert written.report is not None
    problem = item_problem(written.report.items[1])
    assert (problem.code, problem.path, problem.message_args) == (
        Code.INSTANCE_EXISTS,
        "instances[1].bk_host_id",
        ("10.0.0.2",),
    )
    if mode == "atomic":
        assert outcomes(written.report) == ["skipped", "failed"]
        assert (written.report.status, written.report.code) == (Status.FAILED, Code.INSTANCE_EXISTS)
        assert await stored(engine) == before
        assert (await counts(engine))["audit_log"] == 1
    else:
        assert outcomes(written.report) == ["created", "failed"]
        assert written.report.status is Status.PART_FAILED
        assert (await counts(engine))["service_instance"] == 2


async def test_on_existing_fail_creates_when_nothing_exists(writer: Writer) -> None:
    written = await writer.write(request(plan([1, 2]), on_existing="fail"))

    assert outcomes(written.report) == ["created", "created"]


async def test_of_twenty_concurrent_strict_requests_one_succeeds(engine: AsyncEngine) -> None:
    asked = [request(plan([1, 2]), on_existing="fail") for _ in range(20)]

    written = await asyncio.gather(*(Writer(engine).write(one) for one in asked))

    statuses = [one.report.status for one in written if one.report]
    assert statuses.count(Status.SUCCESS) == 1
    assert statuses.count(Status.FAILED) == 19
    assert (await counts(engine))["service_instance"] == 2


async def test_instances_that_ask_for_different_things_get_what_each_asked_for(
    writer: Writer, engine: AsyncEngine
) -> None:
    values = [
        {"work_path": "/data/1", "auto_start": True, "proc_num": None, "timeout": 1},
        {"work_path": '{"\\', "auto_start": None, "proc_num": 3, "timeout": 1},
        {"work_path": None, "auto_start": False, "proc_num": 3, "timeout": 1},
    ]
    asked = plan([2, 3, 4])
    instances = [
        replace(planned, place=place, processes=(process(1, [bind(place + 1, str(90 + place))], **values[place]),))
        for place, planned in enumerate(asked.instances)
    ]

    await writer.write(request(replace(asked, instances=tuple(instances))))

    assert await fetch(
        engine,
        "SELECT bk_host_id, work_path, auto_start, proc_num, timeout, template_row_id, port"
        " FROM process JOIN process_bind_info USING (bk_process_id, bk_host_id) ORDER BY 1",
    ) == [(2 + place, *values[place].values(), place + 1, str(90 + place)) for place in range(3)]
