"""The reaper against real servers: it sends again what was taken and has no owner, and nothing else."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis as redis_client
from opentelemetry.sdk.trace import TracerProvider

from contract.answer.report import Report
from contract.answer.status import Status
from contract.codes import Code, Refused
from contract.message import PUBLISH_TASK_NAME, QUEUE_NAME, TaskArguments, build_message, new_request_id
from devstack.process import Guard
from devstack.servers import Valkey
from plumbing import traces
from tests.integration.worker.bench import LEASE_MS, Bench
from worker.postgres import ledger
from worker.postgres.engine import driver_connection
from worker.walk.adopt import adopt

pytestmark = pytest.mark.anyio


async def test_what_was_taken_and_lost_is_sent_again_and_no_backlog_is_doubled(bench: Bench) -> None:
    ids = await bench.accept(300)
    bench.take(7)
    bench.age()

    moved = [await bench.reaper.sweep() for _ in range(5)]

    assert moved == [7, 0, 0, 0, 0]
    assert bench.waiting() == ids[7:] + ids[:7]


async def test_message_that_is_sent_again_carries_the_trace_on(bench: Bench) -> None:
    traceparent = f"00-{'a' * 32}-{'b' * 16}-01"
    traced = await bench.accept(traceparent=traceparent)
    untraced = await bench.accept()
    bench.take(2)
    bench.age()

    assert await bench.reaper.sweep() == 2
    assert bench.waiting() == traced + untraced
    assert [headers.get("traceparent") for headers in bench.headers()] == [traceparent, None]


async def test_adopted_request_keeps_the_trace_of_the_span_that_adopts_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plumbing.traces._Traces.tracer", TracerProvider().get_tracer("test"))
    body = {"bk_biz_id": 1, "bk_module_id": 60, "instances": [{"bk_host_id": 2}]}
    arguments = TaskArguments(request_id=new_request_id(), batch=body)

    with traces.span("lease") as span:
        await adopt(bench.leases, bench.engine, arguments, None)

    assert span.traceparent
    assert bench.redis.hget(f"bksi:req:{arguments.request_id}", "trace") == span.traceparent.encode()


async def test_nothing_is_sent_again_while_everything_waits(bench: Bench) -> None:
    ids = await bench.accept(50)
    bench.age()

    assert [await bench.reaper.sweep() for _ in range(3)] == [0, 0, 0]
    assert bench.waiting() == ids


async def test_backlog_behind_messages_of_nobodys_is_not_doubled(bench: Bench) -> None:
    """Direct messages and look-ups stand in no ledger, so they say nothing about what has been taken."""
    ids = await bench.accept(20)
    bench.redis.rpush(
        QUEUE_NAME, *[build_message(bench.celery, new_request_id(), task=PUBLISH_TASK_NAME) for _ in range(120)]
    )
    bench.redis.rpush(QUEUE_NAME, b"not even a message")
    bench.age()

    assert await bench.reaper.sweep() == 0
    assert bench.waiting() == ids


async def test_taken_requests_that_are_held_do_not_hide_those_that_are_not(bench: Bench) -> None:
    held = await bench.accept(150)
    (lost,) = await bench.accept()
    bench.take(151)
    bench.age()
    # All at once and last of all: none may run out before the sweep.
    leases = await asyncio.gather(*(bench.leases.lease(id_, f"token of {id_}") for id_ in held))
    assert {lease.state for lease in leases} == {"leased"}

    assert await bench.reaper.sweep() == 1
    assert bench.waiting() == [lost]


async def test_request_with_a_live_owner_is_left_alone_and_sent_again_once_its_lease_is_over(bench: Bench) -> None:
    (id_,) = await bench.accept()
    bench.take(1)
    await bench.leases.lease(id_, "token")
    bench.age()
    assert await bench.reaper.sweep() == 0

    bench.redis.hset(f"bksi:req:{id_}", "lease", 1)

    assert await bench.reaper.sweep() == 1
    assert bench.waiting() == [id_]


async def test_clock_that_was_put_back_hides_no_dead_owner_and_takes_nothing_from_a_live_one(bench: Bench) -> None:
    """Everything in Redis was written by a clock that was an hour ahead."""
    dead, alive, waiting = await bench.accept(3)
    bench.take(2)
    leases = [await bench.leases.lease(id_, f"token of {id_}") for id_ in (dead, alive)]
    hour = 3_600_000
    bench.redis.zadd("bksi:workers", {"dead": await bench.leases.now_ms() + hour})
    for id_ in (dead, alive, waiting):
        bench.redis.zincrby("bksi:pending", hour, id_)
        bench.redis.hincrby(f"bksi:req:{id_}", "lease", hour)

    assert await bench.reaper.sweep() == 0
    assert bench.redis.zrange("bksi:workers", 0, -1) == []
    now = await bench.leases.now_ms()
    assert all(score <= now for _, score in bench.redis.zrange("bksi:pending", 0, -1, withscores=True))
    bench.age()
    assert await bench.reaper.sweep() == 0
    assert await bench.leases.extend("alive", leases[1:]) == 1
    now = await bench.leases.now_ms()
    ends = [int(bench.redis.hget(f"bksi:req:{id_}", "lease") or 0) for id_ in (dead, alive)]
    assert all(now - LEASE_MS < end <= now + LEASE_MS for end in ends)
    # What comes after that is as usual: no backlog is doubled, and who does not extend loses.
    bench.redis.hset(f"bksi:req:{dead}", "lease", 1)
    assert await bench.reaper.sweep() == 1
    assert bench.waiting() == [waiting, dead]


async def test_several_reapers_at_once_send_each_request_once(bench: Bench) -> None:
    ids = await bench.accept(40)
    bench.take(40)
    bench.age()

    moved = await asyncio.gather(*(bench.another_reaper().sweep() for _ in range(6)))

    assert sum(moved) == 40
    assert sorted(bench.waiting()) == sorted(ids)


@pytest.mark.rule(
    "V25",
    "no commit within all repetitions: 1199066",
    ours="the accepted request is tried again until its deadline, then 1190009",
)
async def test_request_past_its_deadline_ends_with_an_answer(bench: Bench) -> None:
    waiting, taken = (
        (await bench.accept(request_deadline_s=0.001))[0],
        (await bench.accept(request_deadline_s=0.001))[0],
    )
    (in_time,) = await bench.accept()
    bench.age()

    assert await bench.reaper.sweep() == 2

    for id_ in (waiting, taken):
        report = await bench.leases.load(id_)
        assert report is not None
        assert (report.status, report.code) == (Status.FAILED, Code.DEADLINE_EXCEEDED)
        entry = await ledger.load(bench.engine, id_)
        assert entry is not None
        assert entry.report == report
    assert bench.pending() == {in_time}


async def test_deadline_of_a_request_that_is_being_worked_on_is_its_owners(bench: Bench) -> None:
    (id_,) = await bench.accept(request_deadline_s=0.001)
    await bench.leases.lease(id_, "token")
    bench.age()

    assert await bench.reaper.sweep() == 0
    assert bench.pending() == {id_}


async def test_deadline_loses_against_a_commit(bench: Bench) -> None:
    """A worker committed and died before it could tell: its report stands."""
    (id_,) = await bench.accept(request_deadline_s=0.001)
    report = _failed(id_, Code.MODULE_NOT_FOUND)
    await ledger.decide(bench.engine, report)
    bench.age()

    assert await bench.reaper.sweep() == 1
    assert await bench.leases.load(id_) == report


async def test_cancelled_request_whose_message_is_lost_leaves_the_ledger(bench: Bench) -> None:
    (id_,) = await bench.accept(request_deadline_s=0.001)
    cancelled = _failed(id_, Code.CANCELLED)
    assert await bench.leases.cancel(cancelled) == 1
    bench.take(1)
    bench.age()

    assert await bench.reaper.sweep() == 1

    assert bench.pending() == set()
    entry = await ledger.load(bench.engine, id_)
    assert entry is not None
    assert entry.report == cancelled


async def test_pending_id_without_an_entry_is_forgotten(bench: Bench) -> None:
    bench.redis.zadd("bksi:pending", {new_request_id(): 1})
    (lost,) = await bench.accept()
    bench.take(1)
    bench.age()

    await bench.reaper.sweep()
    await bench.reaper.sweep()

    assert bench.pending() == {lost}


async def test_database_that_is_away_leaves_a_request_past_its_deadline_for_later(
    redis_url: str, redis: "redis_client.Redis", bench: Bench
) -> None:
    cut_off = Bench(redis, redis_url=redis_url, postgres_dsn="postgresql://nobody@127.0.0.1:1/nothing")
    (id_,) = await bench.accept(request_deadline_s=0.001)
    bench.age()

    assert await cut_off.reaper.sweep() == 0
    assert bench.pending() == {id_}
    assert await bench.reaper.sweep() == 1
    await cut_off.close()


async def test_reaper_that_runs_purges_old_reports_batch_by_batch_and_then_rests(
    redis_url: str, redis: "redis_client.Redis", database: str
) -> None:
    bench = Bench(redis, redis_url=redis_url, postgres_dsn=database, reaper_interval_s=0.01)
    young = _failed(new_request_id(), Code.MODULE_NOT_FOUND)
    await ledger.decide(bench.engine, young)
    async with driver_connection(bench.engine) as driver:
        await driver.execute(
            "INSERT INTO request_ledger (request_id, bk_app_code, bk_biz_id, bk_module_id, status, code, report,"
            " attempt, created_at, finished_at) SELECT n::text, '', 1, 1, 'FAILED', 1, '{}', 1, now(),"
            " now() - interval '31 days' FROM generate_series(1, 1500) AS n"
        )

    running = asyncio.create_task(bench.reaper.run())
    async with asyncio.timeout(30):
        while not bench.reaper._purges_at:
            await asyncio.sleep(0.01)
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    async with driver_connection(bench.engine) as driver:
        left = await driver.fetch("SELECT request_id FROM request_ledger WHERE report IS NOT NULL")
    assert [row["request_id"] for row in left] == [young.request_id]
    await bench.close()


@pytest.fixture
def other_broker(guard: Guard, tmp_path: Path) -> "Valkey":
    """A broker that is not the ledger's Redis, as RabbitMQ would be."""
    return Valkey(tmp_path / "broker", guard)


async def test_queue_on_another_server_is_published_to_when_it_is_empty(
    anyio_backend: str, redis_url: str, redis: "redis_client.Redis", database: str, other_broker: Valkey
) -> None:
    with other_broker, redis_client.Redis.from_url(other_broker.url) as broker:
        bench = Bench(redis, redis_url=redis_url, postgres_dsn=database, broker_url=other_broker.url)
        ids = await bench.accept(3)
        bench.age()

        assert await bench.reaper.sweep() == 3
        assert redis.llen(QUEUE_NAME) == 0
        assert broker.llen(QUEUE_NAME) == 3

        # They wait now: sending them again would double them.
        bench.age()
        assert await bench.reaper.sweep() == 0
        # Unless they wait for so long that something else must be wrong.
        bench.age(ids[0], ms=301_000)
        assert await bench.reaper.sweep() == 1
        assert broker.llen(QUEUE_NAME) == 4
        await bench.close()


async def test_broker_that_is_away_keeps_the_request_for_later(
    redis_url: str, redis: "redis_client.Redis", database: str, other_broker: Valkey
) -> None:
    with other_broker:
        pass  # it had a port, and nobody listens there now
    bench = Bench(redis, redis_url=redis_url, postgres_dsn=database, broker_url=other_broker.url)
    (id_,) = await bench.accept()
    bench.age()

    assert await bench.reaper.sweep() == 0
    assert bench.pending() == {id_}
    await bench.close()


def _failed(request_id: str, code: Code) -> Report:
    return Report.failed(
        Refused(code),
        count=1,
        request_id=request_id,
        bk_app_code="app",
        bk_biz_id=1,
        bk_module_id=60,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
