"""The same system with its queue on RabbitMQ: accepted means kept, done once, and both sides outlive the broker."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from kombu import Connection, Queue

from api_shim.jobs import Jobs
from api_shim.submitter import Submitter
from chaos.nursery import Nursery
from contract.answer.job import Job, JobStatus
from contract.answer.report import Report
from contract.message import QUEUE_NAME, Caller
from contract.request.parse import ParsedBatch, parse
from contract.settings import Settings
from devstack.rabbitmq import RabbitMQ
from devstack.servers import Valkey
from tests.integration.live import LiveWorker, batch

T = TypeVar("T")
APP = "rabbit"
CONCURRENCY = Settings().worker_concurrency


def submitting(settings: dict[str, str], scenario: Callable[[Submitter], Awaitable[T]]) -> T:
    async def main() -> T:
        chosen = Settings(redis_url=settings["BKSI_REDIS_URL"], broker_url=settings["BKSI_BROKER_URL"])
        async with Submitter.open(chosen) as submitter:
            return await scenario(submitter)

    return asyncio.run(main())


async def submit(submitter: Submitter, *hosts: int) -> list[str]:
    caller = Caller(bk_app_code=APP)
    return [(await submitter.submit(parse(batch(host)).batch, caller)).request_id for host in hosts]


async def finish(submitter: Submitter, ids: list[str]) -> list[Report]:
    """Wait until each has ended."""

    async def end_of(id_: str) -> Report:
        async with asyncio.timeout(60):
            while True:
                report = await submitter.wait(id_, APP, 5)
                if report.status.is_final:
                    return report

    return list(await asyncio.gather(*map(end_of, ids)))


def test_requests_are_done_at_the_first_attempt(worker: LiveWorker, settings: dict[str, str]) -> None:
    async def scenario(submitter: Submitter) -> list[Report]:
        assert await submitter.health.ready() == dict.fromkeys(("redis", "broker", "worker", "database"), True)
        return await finish(submitter, await submit(submitter, *range(1, 41)))

    reports = submitting(settings, scenario)

    assert {(report.code, report.attempts) for report in reports} == {(0, 1)}
    assert len({id_ for report in reports for id_ in report.data or ()}) == 40


def test_job_is_accepted_carried_out_and_added_up(worker: LiveWorker, settings: dict[str, str]) -> None:
    async def parts() -> AsyncIterator[ParsedBatch]:
        for hosts in (range(50, 150), range(150, 160)):
            yield parse(batch(50) | {"instances": [{"bk_host_id": host} for host in hosts]})

    async def scenario(submitter: Submitter) -> Job:
        jobs = Jobs(submitter, Settings())
        others = parts()
        job = (await jobs.receive(await anext(others), others, Caller(bk_app_code=APP))).job
        async with asyncio.timeout(60):
            while not job.is_final:
                job = await jobs.wait(job.job_id, APP, 5, asyncio.get_running_loop().create_future())
        return job

    job = submitting(settings, scenario)

    assert (job.status, job.batches, job.success, job.accepted) == (JobStatus.SUCCESS, 2, 110, 110)


def test_queue_is_a_quorum_queue(worker: LiveWorker, rabbitmq: RabbitMQ) -> None:
    """It outlives the loss of a node where there are several."""
    with Connection(rabbitmq.url) as connection, connection.channel() as channel:
        classic = Queue(QUEUE_NAME, channel=channel)
        with pytest.raises(connection.channel_errors, match=r"x-queue-type.*quorum"):
            classic.queue_declare()


def test_stock_sender_is_understood(worker: LiveWorker) -> None:
    assert worker.report(worker.send(41))["result"] is True


def test_worker_that_dies_leaves_nothing_undone(
    worker: LiveWorker, settings: dict[str, str], nursery: Nursery, tmp_path: Path
) -> None:
    poisoned = settings | {"BKSI_FAILPOINTS": "before_publish=kill:1", "BKSI_FAILPOINTS_DIR": str(tmp_path)}
    dying = LiveWorker(poisoned, tmp_path, nursery)
    with dying:

        async def scenario(submitter: Submitter) -> list[Report]:
            ids: list[str] = []
            while dying.process.returncode is None:  # until it has had one
                ids += await submit(submitter, *range(51, 55))
            return await finish(submitter, ids)

        reports = submitting(settings, scenario)

    assert dying.process.returncode == -signal.SIGKILL
    assert {report.code for report in reports} == {0}
    assert len({id_ for report in reports for id_ in report.data or ()}) == 4


def test_rabbitmq_that_is_killed_costs_nothing(
    worker: LiveWorker, settings: dict[str, str], rabbitmq: RabbitMQ
) -> None:
    """What is accepted while it is away stands in the ledger, and is published once it is back."""

    async def scenario(submitter: Submitter) -> list[Report]:
        ids = await submit(submitter, *range(61, 65))
        await asyncio.to_thread(rabbitmq.kill)
        ids += await submit(submitter, *range(65, 67))
        assert (await submitter.health.ready())["broker"] is False
        await asyncio.to_thread(rabbitmq.start)
        ids += await submit(submitter, *range(67, 69))
        return await finish(submitter, ids)

    reports = submitting(settings, scenario)

    assert {report.code for report in reports} == {0}
    assert worker.process.pid == worker.pid


def test_report_that_redis_lost_is_published_again(worker: LiveWorker, settings: dict[str, str]) -> None:
    async def scenario(submitter: Submitter) -> None:
        ids = await submit(submitter, 71)
        before = await finish(submitter, ids)
        worker.redis.delete(f"bksi:result:{ids[0]}")
        assert await finish(submitter, ids) == before

    submitting(settings, scenario)


def test_ledger_that_is_away_is_not_asked_in_a_tight_loop(worker: LiveWorker, ledger: Valkey) -> None:
    """RabbitMQ delivers what is rejected at once, so the worker has to pause: hundreds a second otherwise."""
    ledger.stop()
    before, started = deliveries(worker), time.monotonic()
    ids = [worker.send(host) for host in range(81, 121)]
    worker.wait_for(lambda: deliveries(worker) - before > len(ids) + CONCURRENCY, "some delivered again")
    again, rounds = deliveries(worker) - before, time.monotonic() - started
    ledger.start()

    assert {worker.report(id_)["result"] for id_ in ids} == {True}
    assert again <= CONCURRENCY * (rounds + 2)  # as many as it holds at once, each for a second


def test_direct_message_outlasts_a_delivery_limit(worker: LiveWorker, ledger: Valkey, rabbitmq: RabbitMQ) -> None:
    """RabbitMQ drops what is put back too often, and has such a limit by itself since 4.0."""
    rabbitmq.ctl("set_policy", "limit", f"^{QUEUE_NAME}$", '{"delivery-limit": 2}', "--apply-to", "queues")
    ledger.stop()
    before = deliveries(worker)
    request_id = worker.send(131)
    worker.wait_for(lambda: deliveries(worker) - before > 5, "delivered more often than the limit says")
    ledger.start()

    assert worker.report(request_id)["result"] is True


def deliveries(worker: LiveWorker) -> int:
    return worker.process.log.read_text().count("] received")
