"""What a request created is created in CMDB as well, once, whatever CMDB answers or does not answer."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest
import redis as redis_client

from chaos.cmdb.exchange import Call, Reply, refusal
from chaos.proxy import FaultProxy
from contract.answer.document import report_document
from contract.answer.status import DeliveryStatus, JobPart, Outcome, Status
from contract.codes import Code
from contract.message import DELIVER_TASK_NAME, QUEUE_NAME, Caller
from contract.redis.jobs import JobStore
from plumbing.failpoints import FailpointReached, arm
from tests.integration.worker.delivery.conftest import BOUND, UNBOUND, Side, free, nginx
from tests.unit.worker.catalogue.cmdb_items import process_instance, service_instance
from worker.catalogue.cmdb import Cmdb
from worker.catalogue.instance_pull import pull_instances
from worker.catalogue.instance_report import InstanceReport
from worker.expand.plan import PlannedProcess
from worker.postgres.deliveries import drop, module_lock
from worker.postgres.engine import create_engine, driver_connection
from worker.postgres.errors import DatabaseUnavailable
from worker.postgres.ledger import load_job

pytestmark = pytest.mark.anyio
LEFT = "SELECT status FROM delivery"


def keys(side: Side) -> list[tuple[int, int, str]]:
    """What CMDB has, by what must be there once."""
    return sorted((one["bk_module_id"], one["bk_host_id"], one["name"]) for one in side.cmdb.instances)


async def test_rows_come_to_cmdb_with_both_ids_beside_each_other(side: Side) -> None:
    id_ = await side.write(2, 3, processes=[nginx()])
    report = await side.deliver(id_)
    assert report.delivery is DeliveryStatus.DELIVERED
    assert report.status is Status.SUCCESS
    assert report.data == [item["service_instance_id"] for item in report.items], "the answer is of the rows here"
    assert [item["cmdb_id"] for item in report.items] == [1000, 1001]
    assert [process["cmdb_id"] for item in report.items for process in item["processes"]] == [1000, 1001]
    assert [one["name"] for one in side.cmdb.instances] == ["10.0.0.2_job_1_8001", "10.0.0.3_job_1_8001"]
    assert await side.rows(LEFT) == [], "what is delivered is out of the outbox"
    assert await side.rows("SELECT count(*) FROM cmdb_process") == [(2,)]


async def test_an_awaited_answer_has_cmdbs_ids_and_ends_by_the_clock_of_redis(side: Side) -> None:
    id_ = await side.write(2, 3, answer_after="delivery")
    before = await side.leases.load(id_)
    assert before is not None
    assert (before.status, before.envelope()["code"], before.data) == (Status.RUNNING, Code.STILL_RUNNING, None)
    asked_at = await side.leases.now()
    report = await side.deliver(id_)
    assert report.finished_at is not None
    assert asked_at <= report.finished_at <= await side.leases.now()
    assert report.finished_at.microsecond % 1000 == 0, "Redis' clock is read in milliseconds"
    envelope = report.envelope()
    assert (envelope["result"], envelope["code"], envelope["data"]) == (True, 0, [1000, 1001])
    assert await side.rows("SELECT status, code FROM request_ledger") == [("SUCCESS", 0)]


@pytest.mark.parametrize("answer_after", ["rows", "delivery"])
async def test_a_worker_that_was_frozen_before_it_published_takes_no_delivery_back(
    side: Side, answer_after: Literal["rows", "delivery"]
) -> None:
    id_ = await side.write(2, answer_after=answer_after)
    early = await side.leases.load(id_)
    assert early is not None
    delivered = await side.deliver(id_)

    await side.leases.publish(early)

    assert await side.leases.load(id_) == delivered


async def test_a_carrier_that_was_frozen_before_it_told_takes_no_delivery_back(side: Side) -> None:
    jobs = JobStore(side.leases)
    job = (await jobs.begin(Caller(), 1, BOUND, None)).job_id
    side.cmdb.hosts_of[BOUND].remove(4)
    id_ = await side.write(4, job=JobPart(job_id=job, number=0, first=0))
    refused = await side.deliver(id_)
    assert refused.delivery is DeliveryStatus.FAILED
    side.cmdb.hosts_of[BOUND].append(4)
    await side.retry(id_)
    delivered = await side.deliver(id_)

    await side.leases.publish(refused)
    await jobs.mark(refused)

    assert await side.leases.load(id_) == delivered
    assert await jobs.failed_ids(job) == []


async def test_what_cmdb_has_is_adopted_and_only_the_rest_is_made(side: Side) -> None:
    side.cmdb.instances = [service_instance(72, 2)]
    report = await side.deliver(await side.write(2, 3))
    assert [item["cmdb_id"] for item in report.items] == [72, 1000]
    assert [body["instances"][0]["bk_host_id"] for body in side.created()] == [3]


async def test_a_second_request_for_the_same_asks_cmdb_nothing(side: Side) -> None:
    await side.deliver(await side.write(2))
    before = len(side.cmdb.calls)
    report = await side.deliver(await side.write(2))
    assert report.delivery is DeliveryStatus.DELIVERED
    assert (report.items[0]["outcome"], report.items[0]["cmdb_id"]) == ("existing", 1000)
    assert len(side.cmdb.calls) == before


async def test_what_was_healed_is_healed_in_cmdb(side: Side) -> None:
    await side.deliver(await side.write(2, module=UNBOUND, keys=["10.0.0.2_job_1_8001"], processes=[free(1, 1)]))
    more = [free(1, 1, 2), free(2, 5)]
    report = await side.deliver(await side.write(2, module=UNBOUND, keys=["10.0.0.2_job_1_8001"], processes=more))
    assert report.delivery is DeliveryStatus.DELIVERED
    (instance,) = side.cmdb.instances
    found = [one["process"] for one in instance["process_instances"]]
    assert [[row["template_row_id"] for row in one["bind_info"]] for one in found] == [[1, 2], [5]]


async def test_more_processes_than_one_call_takes_are_healed(side: Side) -> None:
    names = ["10.0.0.2_job_1_8001"]
    await side.deliver(await side.write(2, module=UNBOUND, keys=names))
    many = [free(number, 1, bk_func_name=f"job_{number}") for number in range(1, 152)]
    report = await side.deliver(await side.write(2, module=UNBOUND, keys=names, processes=many))
    assert report.delivery is DeliveryStatus.DELIVERED
    assert len(side.cmdb.instances[0]["process_instances"]) == 151


async def test_a_process_of_a_later_template_waits_for_cmdbs_own_synchronisation(side: Side) -> None:
    """CMDB takes no process under an instance of a template (1108035): nobody asks it to, and the report says why."""
    await side.deliver(await side.write(2))
    later = PlannedProcess(8, nginx(bk_process_name="php", bk_func_name="php").values, ())
    id_ = await side.write(2, 3, processes=[nginx(), later])
    report = await side.deliver(id_)
    assert report.delivery is DeliveryStatus.FAILED
    assert "1108035" in str(report_document(report)["delivery_error"])
    assert "synchronise" in str(report_document(report)["delivery_error"])
    assert "create_process_instance" not in {call.api for call in side.cmdb.calls}
    assert [one["bk_host_id"] for one in side.cmdb.instances] == [2, 3], "the others are there"

    side.cmdb.instances = [
        {
            **one,
            "process_instances": [*one["process_instances"], process_instance(900 + one["id"], one["id"], "php", 8)],
        }
        for one in side.cmdb.instances
    ]
    assert await side.retry(id_)
    assert (await side.deliver(id_)).delivery is DeliveryStatus.DELIVERED


@pytest.mark.parametrize("kind", ["half", "unheard"])
@pytest.mark.parametrize("where", [BOUND, UNBOUND])
async def test_a_call_that_is_not_answered_is_looked_at_again_and_doubles_nothing(
    side: Side, kind: str, where: int
) -> None:
    hosts = range(2, 9)
    names = [f"10.0.0.{host}_job_1_8001" for host in hosts] if where == UNBOUND else None
    id_ = await side.write(*hosts, module=where, keys=names)
    side.cmdb.failures.set({kind: 1.0})
    assert (await side.deliver(id_)).delivery is DeliveryStatus.PENDING
    side.cmdb.failures.set({})
    for _ in range(20):
        await side.hurry(id_)
        if (report := await side.deliver(id_)).delivery is DeliveryStatus.DELIVERED:
            break
        await asyncio.sleep(0.05)
    assert report.delivery is DeliveryStatus.DELIVERED
    assert keys(side) == [(where, host, f"10.0.0.{host}_job_1_8001") for host in hosts]
    assert len({item["cmdb_id"] for item in report.items}) == len(hosts)


async def test_clones_that_came_of_an_unheard_call_are_not_made_again(side: Side) -> None:
    await side.deliver(await side.write(2, module=UNBOUND, keys=["10.0.0.2_job_1_8001"]))
    id_ = await side.clone(2, name="second")
    side.cmdb.failures.set({"unheard": 1.0})
    await side.deliver(id_)
    side.cmdb.failures.set({})
    # A pull that comes in between leaves it to whoever knows which of ours it is.
    await pulled(side)
    await side.hurry(id_)
    report = await side.deliver(id_)
    assert report.delivery is DeliveryStatus.DELIVERED
    assert len(side.cmdb.instances) == 2
    assert await side.rows("SELECT count(*), count(DISTINCT cmdb_id) FROM cmdb_instance") == [(2, 2)]


@pytest.mark.parametrize("is_heard", [True, False])
async def test_what_cmdb_names_itself_is_known_by_whatever_name(side: Side, is_heard: bool) -> None:
    """A name over 256 bytes is of a host with many addresses; CMDB knows others by now than the catalogue."""
    id_ = await side.write(2, module=UNBOUND, keys=["10.0.0.2_job_1_8001"])
    await side.rows("UPDATE service_instance SET name = $1, instance_key = $1", "10.0.0.1," * 40 + "_job_1_8001")
    side.cmdb.failures.set({} if is_heard else {"unheard": 1.0})
    await side.deliver(id_)
    side.cmdb.failures.set({})
    await side.hurry(id_)
    assert (await side.deliver(id_)).delivery is DeliveryStatus.DELIVERED
    assert [one["name"] for one in side.cmdb.instances] == ["10.0.0.2_job_1_8001"]


async def test_a_clone_is_made_although_its_name_is_there(side: Side) -> None:
    await side.deliver(await side.write(2, module=UNBOUND, keys=["10.0.0.2_job_1_8001"]))
    report = await side.deliver(await side.clone(2, name="second"))
    assert report.items[0]["cmdb_id"] == 1001
    assert len(side.cmdb.instances) == 2


@pytest.mark.parametrize(
    "reply",
    [
        refusal(1199997, "slow down"),
        Reply(502, "<html>"),
        refusal(1199002, "http request failed"),
        refusal(1199999, "internal server error"),
        refusal(1306201, "request third-party interface error"),
    ],
)
async def test_cmdb_that_is_busy_or_broken_is_asked_again_later(side: Side, reply: Reply) -> None:
    id_ = await side.write(2)
    side.cmdb.before = lambda call: reply if call.api == "create_service_instance" else None
    assert (await side.deliver(id_)).delivery is DeliveryStatus.PENDING
    assert await side.rows("SELECT tries, starts, due_at > now() FROM delivery") == [(1, 0, True)]
    side.cmdb.before = lambda call: None
    await asyncio.sleep(side.settings.cmdb_settle_s)
    await side.hurry(id_)
    assert (await side.deliver(id_)).delivery is DeliveryStatus.DELIVERED


@pytest.mark.parametrize("page", [Reply(404, "<html>Not Found</html>"), Reply(body={"result": True, "data": "closed"})])
async def test_what_answers_in_cmdbs_place_while_it_is_upgraded_fails_nothing(side: Side, page: Reply) -> None:
    id_ = await side.write(2)
    side.cmdb.before = lambda call: page
    assert (await side.deliver(id_)).delivery is DeliveryStatus.PENDING
    ((message,),) = await side.rows("SELECT message FROM delivery")
    assert "list_service_instance_detail" in message, "an operator sees what it waits for"
    side.cmdb.before = lambda call: None
    await side.hurry(id_)
    assert (await side.deliver(id_)).delivery is DeliveryStatus.DELIVERED


async def test_cmdb_that_cannot_say_what_it_has_fails_nothing(side: Side) -> None:
    """Its database is away: it answers so, with HTTP 200, to whoever looks."""
    ill = refusal(1199017, "db operation failed")
    side.cmdb.before = lambda call: ill if call.api == "list_service_instance_detail" else None
    side.bridge_gives_up_after(0.1)
    id_ = await side.write(2)
    assert (await side.deliver(id_)).delivery is DeliveryStatus.PENDING
    assert side.created() == []
    side.cmdb.before = lambda call: None
    await side.hurry(id_)
    assert (await side.deliver(id_)).delivery is DeliveryStatus.DELIVERED


async def test_an_error_without_a_reason_that_stays_is_a_refusal_in_the_end(side: Side) -> None:
    def fail(call: Call) -> Reply | None:
        asked = call.body["instances"] if call.api == "create_service_instance" else ()
        return refusal(1199999, "proc broke down") if any(one["bk_host_id"] == 2 for one in asked) else None

    side.cmdb.before = fail
    poison, innocent = await side.write(2), await side.write(3)
    await side.rows("UPDATE delivery SET tries = 10 WHERE request_id = $1", poison)
    for _ in range(4):
        await side.deliver(poison)
        await asyncio.sleep(side.settings.cmdb_settle_s)
        await side.rows("UPDATE delivery SET due_at = now()")
    assert await side.ends(poison, innocent) == [DeliveryStatus.FAILED, DeliveryStatus.DELIVERED]
    ((code, message),) = await side.rows("SELECT code, message FROM delivery")
    assert code == 1199999
    assert message.startswith("proc broke down (again and again")

    side.cmdb.before = lambda call: None
    assert await side.retry(poison)
    assert (await side.deliver(poison)).delivery is DeliveryStatus.DELIVERED


async def test_cmdb_may_be_away_for_days(side: Side) -> None:
    id_ = await side.write(2)
    await side.rows("UPDATE delivery SET tries = 5000")
    side.cmdb.before = lambda call: refusal(1199997, "slow down") if call.api == "create_service_instance" else None
    assert (await side.deliver(id_)).delivery is DeliveryStatus.PENDING
    assert await side.rows("SELECT tries, starts FROM delivery") == [(5001, 0)]


async def test_what_cannot_be_read_of_cmdb_fails_alone(side: Side) -> None:
    side.cmdb.instances = [service_instance(72, 2, creator=5)]
    odd, plain = await side.write(2), await side.write(3)
    await side.deliver(odd)
    assert await side.ends(odd, plain) == [DeliveryStatus.FAILED, DeliveryStatus.DELIVERED]


async def test_what_cmdb_never_answers_for_keeps_nobody_waiting(side: Side) -> None:
    def fail(call: Call) -> Reply | None:
        asked = call.body["instances"] if call.api == "create_service_instance" else ()
        return Reply(500) if any(one["bk_host_id"] == 2 for one in asked) else None

    side.cmdb.before = fail
    poison, innocent = await side.write(2), await side.write(3)
    for _ in range(4):
        await side.deliver(poison)
        await asyncio.sleep(side.settings.cmdb_settle_s)
        await side.rows("UPDATE delivery SET due_at = now()")
    report = await side.leases.load(innocent)
    assert report is not None
    assert report.delivery is DeliveryStatus.DELIVERED
    assert await side.rows("SELECT status, message FROM delivery") == [("PENDING", "create_service_instance: HTTP 500")]


async def test_a_refusal_fails_the_one_it_means_and_says_why(side: Side) -> None:
    side.cmdb.hosts_of[BOUND].remove(4)
    good, bad = await side.write(2, 3), await side.write(4, answer_after="delivery")
    await side.deliver(good)
    delivered, failed = await side.leases.load(good), await side.leases.load(bad)
    assert delivered is not None
    assert delivered.delivery is DeliveryStatus.DELIVERED
    assert failed is not None
    document = report_document(failed)
    assert (document["delivery"], document["result"], document["code"]) == ("FAILED", False, Code.NOT_DELIVERED)
    assert "1110056" in document["delivery_error"]["message"]
    assert await side.rows("SELECT status, code, is_told FROM delivery") == [("FAILED", 1110056, True)]

    side.cmdb.hosts_of[BOUND].append(4)
    assert await side.retry(bad)
    assert (await side.deliver(bad)).envelope()["result"]


async def test_a_batch_of_a_job_that_cmdb_refuses_is_left_to_be_tried_again_until_it_takes_it(side: Side) -> None:
    jobs = JobStore(side.leases)
    job = (await jobs.begin(Caller(), 1, BOUND, None)).job_id
    side.cmdb.hosts_of[BOUND].remove(4)
    id_ = await side.write(4, job=JobPart(job_id=job, number=7, first=700))
    assert await jobs.failed_ids(job) == []
    assert (await side.deliver(id_)).delivery is DeliveryStatus.FAILED
    assert await jobs.failed_ids(job) == [(7, id_)]

    known = await load_job(side.engine, job)
    assert known is not None
    await side.leases.client.delete(side.leases.keys.job(job), side.leases.keys.job_failed(job))
    await jobs.restore(known.job, known.batches, ttl_s=60)
    assert await jobs.failed_ids(job) == [(7, id_)], "PostgreSQL knows it too"

    side.cmdb.hosts_of[BOUND].append(4)
    assert await side.retry(id_)
    assert (await side.deliver(id_)).delivery is DeliveryStatus.DELIVERED
    assert await jobs.failed_ids(job) == []


async def test_a_full_redis_lets_the_delivery_of_a_batch_of_a_job_end(side: Side, redis: "redis_client.Redis") -> None:
    jobs = JobStore(side.leases)
    job = (await jobs.begin(Caller(), 1, BOUND, None)).job_id
    side.cmdb.hosts_of[BOUND].remove(4)
    id_ = await side.write(4, job=JobPart(job_id=job, number=0, first=0))
    redis.config_set("maxmemory", 1)
    try:
        assert (await side.deliver(id_)).delivery is DeliveryStatus.FAILED
    finally:
        redis.config_set("maxmemory", 0)
    assert await jobs.failed_ids(job) == [(0, id_)]
    assert await side.rows("SELECT is_told FROM delivery") == [(True,)]


async def test_what_failed_is_looked_at_again_once_another_request_brings_it(side: Side) -> None:
    side.cmdb.hosts_of[BOUND].remove(4)
    failed = await side.write(4)
    assert (await side.deliver(failed)).delivery is DeliveryStatus.FAILED
    side.cmdb.hosts_of[BOUND].append(4)
    later = await side.write(4)
    await side.deliver(later)
    assert await side.ends(failed, later) == [DeliveryStatus.DELIVERED, DeliveryStatus.DELIVERED]
    assert await side.rows(LEFT) == []


async def test_somebody_else_was_first(side: Side) -> None:
    """CMDB refuses with 1113016 what came between the look and the call: its id is adopted."""

    def meddle(call: Call) -> None:
        if call.api == "create_service_instance" and not side.cmdb.instances:
            side.cmdb.instances = [service_instance(72, 3)]

    side.cmdb.before = meddle
    report = await side.deliver(await side.write(2, 3))
    assert [item["cmdb_id"] for item in report.items] == [1002, 72]
    assert len(keys(side)) == 2


async def test_one_at_a_time_carries_a_module_and_the_others_go_on(side: Side) -> None:
    held = await side.write(2)
    free_ = await side.write(2, module=UNBOUND, keys=["10.0.0.2_job_1_8001"])
    async with driver_connection(side.engine) as driver, module_lock(driver, BOUND) as is_ours:
        assert is_ours
        assert await side.deliverer.deliver(held) == "held"
        assert (await side.deliver(free_)).delivery is DeliveryStatus.DELIVERED
        async with driver_connection(side.engine) as another, module_lock(another, BOUND) as is_another:
            assert not is_another
            assert await another.fetchval("SHOW idle_session_timeout") == "0", "it holds nothing that could be kept"
    assert (await side.deliver(held)).delivery is DeliveryStatus.DELIVERED


async def test_worker_that_nobody_hears_any_more_lets_go_of_its_module(side: Side, database: str) -> None:
    """Its connection has died without a word: PostgreSQL sees an open one that says nothing."""
    id_ = await side.write(2)
    server = urlsplit(database)
    assert server.port is not None
    with FaultProxy(server.port) as relay:
        engine = create_engine(database.replace(f":{server.port}/", f":{relay.port}/"))
        with suppress(DatabaseUnavailable):
            async with driver_connection(engine) as driver, module_lock(driver, BOUND, silent_ms=1000) as is_ours:
                assert is_ours
                relay.freeze_open()
                assert await side.deliverer.deliver(id_) == "held"
                while await side.deliverer.deliver(id_) == "held":
                    await asyncio.sleep(0.02)
                raise DatabaseUnavailable  # which a carrier finds at its next statement
        await engine.dispose()
    assert [host for _, host, _ in keys(side)] == [2]
    assert await side.rows(LEFT) == []


async def test_many_carriers_at_once_double_nothing(side: Side) -> None:
    ids = [await side.write(*range(first, first + 3)) for first in range(1, 8)]
    for _ in range(3):
        await asyncio.gather(*(side.deliverer.deliver(id_) for id_ in ids))
    assert await side.rows(LEFT) == []
    assert [host for _, host, _ in keys(side)] == list(range(1, 10))


async def test_what_nobody_carries_is_found_in_postgresql(side: Side, redis: Any) -> None:
    """The message is lost, or all of Redis is."""
    id_ = await side.write(2)
    assert await side.deliverer.sweep() == 0, "a message has just been sent"
    async with driver_connection(side.engine) as driver:
        await driver.execute("UPDATE delivery SET sent_at = now() - interval '1 minute'")
    assert await side.deliverer.sweep() == 1
    assert await side.deliverer.sweep() == 0
    (message,) = redis.lrange(QUEUE_NAME, 0, -1)
    assert DELIVER_TASK_NAME.encode() in message
    assert (await side.deliver(id_)).delivery is DeliveryStatus.DELIVERED


async def test_what_kills_its_workers_ends_and_takes_no_others_along(side: Side) -> None:
    poison, innocent = await side.write(2), await side.write(3)
    async with driver_connection(side.engine) as driver:
        await driver.execute("UPDATE delivery SET starts = 10 WHERE request_id = $1", poison)
        await driver.execute("UPDATE delivery SET starts = 1 WHERE request_id = $1", innocent)
    await side.deliver(poison)
    assert await side.ends(poison, innocent) == [DeliveryStatus.FAILED, DeliveryStatus.DELIVERED]


async def test_an_operator_gives_one_up(side: Side) -> None:
    id_ = await side.write(2, answer_after="delivery")
    async with driver_connection(side.engine) as driver:
        assert await drop(driver, id_)
    report = await side.deliver(id_)
    assert (report.delivery, report.status) == (DeliveryStatus.FAILED, Status.FAILED)
    assert await side.rows(LEFT) == []
    assert side.cmdb.instances == []


def while_cmdb_is_called(
    work: Callable[[], Awaitable[Any]], reply: Reply | None = None
) -> Callable[[Call], Reply | None]:
    """Do it while CMDB is to create something, the first time; `reply` is what it then says in place of its answer."""
    loop, left = asyncio.get_running_loop(), [work]

    def meanwhile(call: Call) -> Reply | None:
        if call.api != "create_service_instance" or not left:
            return None
        asyncio.run_coroutine_threadsafe(left.pop()(), loop).result(10)
        return reply

    return meanwhile


async def test_what_an_operator_retries_while_cmdb_refuses_it_is_tried_again(side: Side) -> None:
    id_ = await side.write(2)
    side.cmdb.before = while_cmdb_is_called(lambda: side.retry(id_), refusal(1110056, "not in this module"))
    assert (await side.deliver(id_)).delivery is DeliveryStatus.DELIVERED
    assert await side.rows(LEFT) == []


async def test_what_cmdb_takes_while_an_operator_gives_it_up_is_delivered(side: Side) -> None:
    id_ = await side.write(2)

    async def give_up() -> None:
        async with driver_connection(side.engine) as driver:
            assert await drop(driver, id_)

    side.cmdb.before = while_cmdb_is_called(give_up)
    arm("before_told=raise:1")
    try:
        with pytest.raises(FailpointReached):
            await side.deliver(id_)
        assert (await side.deliver(id_)).delivery is DeliveryStatus.DELIVERED
    finally:
        arm("")
    assert await side.rows(LEFT) == []


async def pulled(side: Side) -> InstanceReport:
    with Cmdb(side.cmdb.url) as client:
        return await pull_instances(side.engine, client, 1)


@pytest.mark.parametrize("where", [BOUND, UNBOUND])
async def test_what_a_pull_has_missed_and_a_request_made_anew_is_one_in_cmdb(side: Side, where: int) -> None:
    """One of CMDB's lists left it out: it is created here anew, and CMDB is asked before anything is created there."""
    names = ["10.0.0.2_job_1_8001"] if where == UNBOUND else None
    await side.deliver(await side.write(2, module=where, keys=names))
    there = side.cmdb.instances
    side.cmdb.instances = []
    assert [cmdb_id for _, cmdb_id in (await pulled(side)).gone] == [1000]
    side.cmdb.instances = there

    report = await side.deliver(await side.write(2, module=where, keys=names))
    assert report.delivery is DeliveryStatus.DELIVERED
    assert (report.items[0]["outcome"], report.items[0]["cmdb_id"]) == (Outcome.CREATED, 1000)
    assert [one["id"] for one in side.cmdb.instances] == [1000]
    found = await pulled(side)
    assert (found.gone, found.twins, found.instances["unchanged"]) == ([], [], 1)
    listed = "SELECT service_instance_id, cmdb_id FROM cmdb_instance WHERE gone_at IS NULL"
    assert await side.rows(listed) == [(report.items[0]["service_instance_id"], 1000)]


async def test_what_a_pull_has_missed_is_looked_for_before_its_delivery_ends(side: Side) -> None:
    names = ["10.0.0.2_job_1_8001"]
    await side.deliver(await side.write(2, module=UNBOUND, keys=names))
    healed = await side.write(2, module=UNBOUND, keys=names, processes=[free(1, 1), free(2, 5)])
    there = side.cmdb.instances
    side.cmdb.instances = []
    await pulled(side)
    side.cmdb.instances = there
    assert (await side.deliver(healed)).delivery is DeliveryStatus.DELIVERED
    assert len(side.cmdb.instances[0]["process_instances"]) == 2
    assert await side.rows("SELECT gone_at FROM cmdb_instance") == [(None,)]


async def test_what_cmdb_has_removed_meanwhile_is_not_said_to_be_delivered(side: Side) -> None:
    await side.deliver(await side.write(2))
    id_ = await side.write(2)
    side.cmdb.instances = []
    await pulled(side)
    report = await side.deliver(id_)
    assert report.delivery is DeliveryStatus.FAILED
    assert "a new request creates it anew" in str(report_document(report)["delivery_error"])
    assert side.cmdb.instances == []


async def pulled_around(side: Side, meanwhile: Callable[[], Awaitable[Any]], *, is_stale: bool) -> InstanceReport:
    """Pull, and let something happen while CMDB answers, with what it had before it (`is_stale`) or after it."""
    loop, before = asyncio.get_running_loop(), list(side.cmdb.instances)

    def hold(call: Call) -> Reply | None:
        if call.api != "list_service_instance_detail" or "bk_module_id" in call.body:
            return None
        asyncio.run_coroutine_threadsafe(meanwhile(), loop).result(10)
        found = before if is_stale else side.cmdb.instances
        return Reply(body={"result": True, "code": 0, "message": "", "data": {"count": len(found), "info": found}})

    async def pull() -> InstanceReport:
        engine = create_engine(side.settings.postgres_dsn)
        try:
            with Cmdb(side.cmdb.url) as client:
                return await pull_instances(engine, client, 1)
        finally:
            await engine.dispose()

    side.cmdb.before = hold
    try:
        return await asyncio.to_thread(lambda: asyncio.run(pull()))
    finally:
        side.cmdb.before = lambda call: None


async def test_a_page_that_was_read_before_a_delivery_takes_nothing_back(side: Side) -> None:
    """A pull reads CMDB, a process comes to CMDB, and only then the pull compares: it is not gone."""
    names = ["10.0.0.2_job_1_8001"]
    await side.deliver(await side.write(2, module=UNBOUND, keys=names))
    id_ = await side.write(2, module=UNBOUND, keys=names, processes=[free(1, 1, 2), free(2, 5)])
    report = await pulled_around(side, lambda: side.deliver(id_), is_stale=True)
    assert (report.processes["gone"], report.bind_rows["gone"]) == (0, 0)


@pytest.mark.parametrize("where", [BOUND, UNBOUND])
@pytest.mark.parametrize("is_stale", [True, False])
@pytest.mark.parametrize("is_heard", [True, False])
async def test_what_comes_to_cmdb_while_a_pull_reads_it_is_one_and_not_gone(
    side: Side, where: int, is_stale: bool, is_heard: bool
) -> None:
    names = {host: [f"10.0.0.{host}_job_1_8001"] if where == UNBOUND else None for host in (2, 3)}
    await side.deliver(await side.write(2, module=where, keys=names[2]))
    id_ = await side.write(3, module=where, keys=names[3])

    async def deliver() -> None:
        side.cmdb.failures.set({} if is_heard else {"unheard": 1.0})
        await side.deliver(id_)
        side.cmdb.failures.set({})

    report = await pulled_around(side, deliver, is_stale=is_stale)
    assert (report.gone, report.twins, report.instances["added"]) == ([], [], 0)
    await side.hurry(id_)
    assert (await side.deliver(id_)).delivery is DeliveryStatus.DELIVERED
    assert [host for _, host, _ in keys(side)] == [2, 3]
    assert await side.rows("SELECT count(*) FROM service_instance") == [(2,)]
    assert sorted(await side.rows("SELECT cmdb_id FROM cmdb_instance WHERE gone_at IS NULL")) == [(1000,), (1001,)]


async def test_that_a_small_call_was_quick_says_nothing_of_larger_ones(side: Side) -> None:
    await side.deliver(await side.write(1))
    await side.deliver(await side.write(*range(2, 11)))
    assert [len(body["instances"]) for body in side.created()] == [1, 9]


async def test_calls_grow_again_while_cmdb_is_quick(side: Side) -> None:
    await side.deliver(await side.write(1))
    await side.rows("UPDATE delivery_call SET piece = 1")
    await side.deliver(await side.write(*range(2, 11)))
    assert [len(body["instances"]) for body in side.created()] == [1, 1, 2, 4, 2]
