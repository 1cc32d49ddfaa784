"""The door to the queue against a real server: enqueue, poll, be woken, and a Redis that is gone."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis as redis_client

from api_shim.backlog import DrainRate
from api_shim.jobs import Jobs
from api_shim.refusals import BrokerUnavailable, Busy, NotFound, TooLate
from api_shim.submitter import Submitter
from contract.answer.job import Job
from contract.answer.report import Report
from contract.answer.status import Status
from contract.message import QUEUE_NAME, Caller
from contract.redis.records import Note
from contract.request.batch import ServiceInstanceBatch
from contract.settings import Settings
from devstack.process import Guard
from devstack.servers import Valkey

BATCH = ServiceInstanceBatch(bk_biz_id=1, bk_module_id=60, processes=[], instances=[(2, None, None)])
CALLER = Caller(bk_app_code="esb_test", bk_username="admin")
ENDED_JOB = Job("0" * 32, CALLER.bk_app_code, 1, 60, datetime(2026, 1, 1, tzinfo=UTC), batches=1, ended=1)


def run(url: str, scenario: Callable[[Submitter], Awaitable[None]], **settings: object) -> None:
    async def main() -> None:
        async with Submitter.open(Settings(redis_url=url, **settings)) as submitter:  # type: ignore[arg-type]
            await scenario(submitter)

    asyncio.run(main())


def finished(request_id: str) -> Report:
    return Report(
        request_id=request_id,
        bk_app_code=CALLER.bk_app_code,
        bk_biz_id=1,
        bk_module_id=60,
        status=Status.SUCCESS,
        data=[53],
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def test_submit_enqueues_one_message_whose_task_id_is_the_request_id(
    redis_url: str, redis: "redis_client.Redis[bytes]"
) -> None:
    async def scenario(submitter: Submitter) -> None:
        submitted = await submitter.submit(BATCH, CALLER)

        [raw] = redis.lrange(QUEUE_NAME, 0, -1)
        headers = json.loads(raw)["headers"]
        assert (headers["id"], headers["argsrepr"]) == (submitted.request_id, "biz=1 module=60 instances=1")
        report = await submitter.poll(submitted.request_id, CALLER.bk_app_code)
        assert report.status is Status.PENDING

    run(redis_url, scenario)


def test_poll_by_another_application_finds_nothing(redis_url: str, redis: "redis_client.Redis[bytes]") -> None:
    async def scenario(submitter: Submitter) -> None:
        submitted = await submitter.submit(BATCH, CALLER)
        redis.set(submitter.requests.keys.unknown(submitted.request_id), Note().dump())

        with pytest.raises(NotFound):
            await submitter.poll(submitted.request_id, "other")
        with pytest.raises(NotFound):
            await submitter.wait(submitted.request_id, "other", 5)
        with pytest.raises(NotFound):
            await submitter.cancel(submitted.request_id, "other")

    run(redis_url, scenario)


def test_wait_is_woken_by_the_end(redis_url: str, redis: "redis_client.Redis[bytes]") -> None:
    async def scenario(submitter: Submitter) -> None:
        ids = [(await submitter.submit(BATCH, CALLER)).request_id for _ in range(50)]
        waits = [asyncio.create_task(submitter.wait(id_, CALLER.bk_app_code, 30)) for id_ in ids]
        while submitter.waiters.count < len(ids):
            await asyncio.sleep(0)
        for id_ in ids:
            await submitter.requests.publish(finished(id_))

        assert await asyncio.gather(*waits) == [finished(id_) for id_ in ids]
        assert submitter.waiters.count == 0

    run(redis_url, scenario)


def test_wait_for_a_request_of_ones_own_asks_redis_nothing_before_it_has_ended(
    redis_url: str, redis: "redis_client.Redis[bytes]"
) -> None:
    async def scenario(submitter: Submitter) -> None:
        submitted = await submitter.submit(BATCH, CALLER)
        read_before = redis.info("commandstats").get("cmdstat_hmget", {"calls": 0})["calls"]
        waiting = asyncio.create_task(submitter.wait(submitted.request_id, CALLER.bk_app_code, 20))
        while not submitter.waiters.count:
            await asyncio.sleep(0)
        await submitter.requests.publish(finished(submitted.request_id))
        report = await waiting
        assert report is not None
        assert report.data == [53]
        # A look at an unfinished request reads the fields of its entry; so does its end, once.
        assert redis.info("commandstats")["cmdstat_hmget"]["calls"] == read_before + 1

    run(redis_url, scenario)


def test_wait_for_what_has_ended_before_finds_it(redis_url: str, redis: "redis_client.Redis[bytes]") -> None:
    async def scenario(submitter: Submitter) -> None:
        while not redis.pubsub_numsub(submitter.requests.keys.done_channel)[0][1]:  # it begins to listen beside us
            await asyncio.sleep(0.01)
        submitted = await submitter.submit(BATCH, CALLER)
        await submitter.requests.publish(finished(submitted.request_id))
        while submitter.waiters.is_unended(submitted.request_id, CALLER.bk_app_code):
            await asyncio.sleep(0.01)
        report = await submitter.wait(submitted.request_id, CALLER.bk_app_code, 20)
        assert report is not None
        assert report.data == [53]

    run(redis_url, scenario)


def test_wait_ends_although_the_wake_up_was_lost(redis_url: str, redis: "redis_client.Redis[bytes]") -> None:
    async def scenario(submitter: Submitter) -> None:
        request_id = (await submitter.submit(BATCH, CALLER)).request_id
        wait = asyncio.create_task(submitter.wait(request_id, CALLER.bk_app_code, 30))
        while submitter.waiters.count == 0:
            await asyncio.sleep(0)
        # What the script would store, without its PUBLISH.
        redis.set(submitter.requests.keys.result(request_id), finished(request_id).dump())

        assert await wait == finished(request_id)

    run(redis_url, scenario)


def test_wait_survives_the_loss_of_the_subscription(redis_url: str, redis: "redis_client.Redis[bytes]") -> None:
    async def scenario(submitter: Submitter) -> None:
        request_id = (await submitter.submit(BATCH, CALLER)).request_id
        wait = asyncio.create_task(submitter.wait(request_id, CALLER.bk_app_code, 30))
        while submitter.waiters.count == 0 or not redis.pubsub_channels("*done"):
            await asyncio.sleep(0.01)
        redis.client_kill_filter(_type="pubsub")
        await submitter.requests.publish(finished(request_id))

        assert await wait == finished(request_id)

    run(redis_url, scenario)


def test_report_that_cannot_be_read_spoils_no_other(redis_url: str, redis: "redis_client.Redis[bytes]") -> None:
    """One of a worker of the next version, while servers of this one still run."""

    async def scenario(submitter: Submitter) -> None:
        requests = submitter.requests
        good, bad = [(await submitter.submit(BATCH, CALLER)).request_id for _ in range(2)]
        unreadable = finished(bad).dump().replace(b'"SUCCESS"', b'"OF_TOMORROW"')
        waits = [asyncio.create_task(submitter.wait(id_, CALLER.bk_app_code, 30)) for id_ in (good, bad)]
        while submitter.waiters.count < len(waits):
            await asyncio.sleep(0)

        redis.set(requests.keys.result(bad), unreadable)
        redis.publish(requests.keys.done_channel, bad.encode() + b"\n" + unreadable)
        redis.publish(requests.keys.done_channel, b"\xff")
        await submitter.waiters._wake([bad])
        await requests.publish(finished(good))

        assert await waits[0] == finished(good)
        loaded = await asyncio.gather(requests.load(good), requests.load(bad), return_exceptions=True)
        assert loaded[0] == finished(good)
        assert isinstance(loaded[1], ValueError)
        assert await requests.load_many([bad, good]) == [None, finished(good)]
        submitter.waiters.release()
        with pytest.raises(ValueError, match=r"status"):
            await waits[1]

    run(redis_url, scenario)


def test_wait_that_runs_out_answers_where_it_stands(redis_url: str, redis: "redis_client.Redis[bytes]") -> None:
    async def scenario(submitter: Submitter) -> None:
        request_id = (await submitter.submit(BATCH, CALLER)).request_id
        report = await submitter.wait(request_id, CALLER.bk_app_code, 0.01)

        assert report.status is Status.PENDING

    run(redis_url, scenario)


def test_submit_over_the_limit_says_when_to_come_back(redis_url: str, redis: "redis_client.Redis[bytes]") -> None:
    async def scenario(submitter: Submitter) -> None:
        await submitter.submit(BATCH, CALLER)
        with pytest.raises(Busy) as refused:
            await submitter.submit(BATCH, CALLER)

        assert refused.value.retry_after >= 1

    run(redis_url, scenario, max_pending=1)


def test_time_to_come_back_is_the_backlog_over_the_rate_at_which_requests_end(
    redis_url: str, redis: "redis_client.Redis[bytes]"
) -> None:
    async def scenario(submitter: Submitter) -> None:
        for _ in range(20):
            await submitter.submit(BATCH, CALLER)

        async def told() -> float:
            with pytest.raises(Busy) as refused:
                await submitter.submit(BATCH, CALLER)
            return refused.value.retry_after

        assert await told() == 1  # nothing is measured yet
        redis.incrby(submitter.requests.keys.finished_count, 10)
        async with asyncio.timeout(20):
            while (seconds := await told()) == 1:
                await asyncio.sleep(0.05)
        # Ten ended in a second or more, twenty are left.
        assert 2 <= seconds < 40

    run(redis_url, scenario, max_pending=20)


def test_cancel_ends_a_waiting_request_and_repeats(redis_url: str, redis: "redis_client.Redis[bytes]") -> None:
    async def scenario(submitter: Submitter) -> None:
        request_id = (await submitter.submit(BATCH, CALLER)).request_id
        first = await submitter.cancel(request_id, CALLER.bk_app_code)
        again = await submitter.cancel(request_id, CALLER.bk_app_code)

        assert first == again
        assert (first.status, first.code) == (Status.TERMINATED, 1190008)
        started = (await submitter.submit(BATCH, CALLER)).request_id
        redis.hset(submitter.requests.keys.request(started), mapping={"attempts": 1, "owner": "token"})
        with pytest.raises(TooLate):
            await submitter.cancel(started, CALLER.bk_app_code)

    run(redis_url, scenario)


def test_everything_says_unavailable_when_redis_is_gone(guard: Guard, tmp_path: Path) -> None:
    with Valkey(tmp_path, guard) as server:

        async def scenario(submitter: Submitter) -> None:
            request_id = (await submitter.submit(BATCH, CALLER)).request_id
            server.kill()
            for call in (
                submitter.submit(BATCH, CALLER),
                submitter.poll(request_id, CALLER.bk_app_code),
                submitter.wait(request_id, CALLER.bk_app_code, 0.5),
                submitter.backlog.count(),
                Jobs(submitter, Settings()).is_retryable(ENDED_JOB),
            ):
                with pytest.raises(BrokerUnavailable):
                    await call
            assert await submitter.health.ready() == dict.fromkeys(("redis", "broker", "worker", "database"), False)

            server.start()
            report = await submitter.poll(request_id, CALLER.bk_app_code)
            assert report.status is Status.PENDING

        run(server.url, scenario)


def test_drain_rate_turns_the_backlog_into_seconds() -> None:
    now = 0.0
    rate = DrainRate(clock=lambda: now)
    assert rate.seconds_for(1000) == 1
    rate.observe(0)
    now = 10.0
    rate.observe(500)

    assert rate.seconds_for(1000) == 20
    assert rate.seconds_for(0) == 1
    assert rate.seconds_for(10**9) == 300


@pytest.mark.parametrize("steps", range(40))
def test_submitter_closes_however_soon_after_it_was_opened(redis_url: str, steps: int) -> None:
    async def main() -> None:
        async with Submitter.open(Settings(redis_url=redis_url)):
            for _ in range(steps):
                await asyncio.sleep(0)

    asyncio.run(main())
