"""Polling what Redis knows no more: one message asks a worker, whose answer may be a report, "gone" or "never was"."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest
import redis as redis_client

from api_shim.jobs import Jobs
from api_shim.refusals import Expired, NotFound, RecallUnanswered
from api_shim.submitter import Submitter
from contract.answer.job import Job
from contract.answer.report import Report
from contract.answer.status import Status
from contract.message import PUBLISH_TASK_NAME, QUEUE_NAME, new_request_id
from contract.redis.jobs import JobStore
from contract.redis.records import Note
from contract.settings import Settings

APP = "esb_test"


def run(url: str, scenario: Callable[[Submitter], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Submitter.open(Settings(redis_url=url)) as submitter:
            await scenario(submitter)

    asyncio.run(main())


def report(request_id: str) -> Report:
    return Report(
        request_id=request_id,
        bk_app_code=APP,
        bk_biz_id=1,
        bk_module_id=60,
        status=Status.SUCCESS,
        data=[53],
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


async def taken(redis: "redis_client.Redis") -> str:
    """The request_id that the next message asks for, as a worker would take it."""
    while (raw := redis.rpop(QUEUE_NAME)) is None:
        await asyncio.sleep(0.01)
    message = json.loads(raw)
    assert message["headers"]["task"] == PUBLISH_TASK_NAME
    _, kwargs, _ = json.loads(base64.b64decode(message["body"]))
    request_id: str = kwargs["request_id"]
    return request_id


def answer(submitter: Submitter, redis: "redis_client.Redis", request_id: str, note: Note) -> None:
    keys = submitter.requests.keys
    redis.set(keys.unknown(request_id), note.dump(), ex=30)
    redis.publish(keys.done_channel, request_id)


def test_poll_of_a_lost_report_asks_once_and_gets_it(redis_url: str, redis: "redis_client.Redis") -> None:
    async def scenario(submitter: Submitter) -> None:
        request_id = new_request_id()
        redis.lpush(QUEUE_NAME, "what waits already")
        polls = [asyncio.create_task(submitter.poll(request_id, APP)) for _ in range(20)]
        while redis.llen(QUEUE_NAME) < 2:
            await asyncio.sleep(0.01)

        assert await taken(redis) == request_id
        await submitter.requests.publish(report(request_id))

        assert await asyncio.gather(*polls) == [report(request_id)] * 20
        assert redis.lrange(QUEUE_NAME, 0, -1) == [b"what waits already"]

    run(redis_url, scenario)


def test_report_of_another_application_is_as_unknown_as_none(redis_url: str, redis: "redis_client.Redis") -> None:
    async def scenario(submitter: Submitter) -> None:
        request_id = new_request_id()
        poll = asyncio.create_task(submitter.poll(request_id, "other"))
        await taken(redis)
        await submitter.requests.publish(report(request_id))
        with pytest.raises(NotFound):
            await poll

    run(redis_url, scenario)


def test_report_of_another_application_that_redis_knows_is_looked_up_like_none(
    redis_url: str, redis: "redis_client.Redis"
) -> None:
    async def scenario(submitter: Submitter) -> None:
        request_id = new_request_id()
        await submitter.requests.publish(report(request_id))
        poll = asyncio.create_task(submitter.poll(request_id, "other"))
        assert await taken(redis) == request_id
        await submitter.requests.publish(report(request_id))
        with pytest.raises(NotFound):
            await poll

        # As with one that never was, the next answer needs no worker.
        with pytest.raises(NotFound):
            await submitter.poll(request_id, "other")
        assert redis.llen(QUEUE_NAME) == 0
        assert await submitter.poll(request_id, APP) == report(request_id)

    run(redis_url, scenario)


def test_job_where_a_request_is_looked_for_is_as_unknown_as_none(redis_url: str, redis: "redis_client.Redis") -> None:
    async def scenario(submitter: Submitter) -> None:
        job_id = new_request_id()
        poll = asyncio.create_task(submitter.poll(job_id, APP))
        await taken(redis)
        job = Job(job_id, APP, 1, 60, datetime(2026, 1, 1, tzinfo=UTC), batches=1, accepted=1, ended=1, size=1)
        await JobStore(submitter.requests).restore(job, [], ttl_s=60)
        with pytest.raises(NotFound):
            await poll

    run(redis_url, scenario)


def test_request_where_a_job_is_looked_for_is_as_unknown_as_none(redis_url: str, redis: "redis_client.Redis") -> None:
    async def scenario(submitter: Submitter) -> None:
        request_id = new_request_id()
        await submitter.requests.publish(report(request_id))
        look = asyncio.create_task(Jobs(submitter, Settings(redis_url=redis_url)).find(request_id, APP))
        await taken(redis)
        redis.publish(submitter.requests.keys.done_channel, request_id)  # as putting back says it
        with pytest.raises(NotFound):
            await look

    run(redis_url, scenario)


def test_request_nobody_has_heard_of_is_unknown_and_not_asked_again(
    redis_url: str, redis: "redis_client.Redis"
) -> None:
    async def scenario(submitter: Submitter) -> None:
        request_id = new_request_id()
        poll = asyncio.create_task(submitter.poll(request_id, APP))
        answer(submitter, redis, await taken(redis), Note())
        with pytest.raises(NotFound):
            await poll

        with pytest.raises(NotFound):
            await submitter.poll(request_id, APP)
        assert redis.llen(QUEUE_NAME) == 0

    run(redis_url, scenario)


def test_expired_request_says_how_it_ended_to_its_application_alone(
    redis_url: str, redis: "redis_client.Redis"
) -> None:
    async def scenario(submitter: Submitter) -> None:
        request_id = new_request_id()
        poll = asyncio.create_task(submitter.poll(request_id, "a:b"))
        answer(submitter, redis, await taken(redis), Note("a:b", Status.PART_FAILED))

        with pytest.raises(Expired) as raised:
            await poll
        assert raised.value.status is Status.PART_FAILED
        with pytest.raises(NotFound):
            await submitter.poll(request_id, "other")

    run(redis_url, scenario)


def test_guessing_ids_asks_for_few_at_once(redis_url: str, redis: "redis_client.Redis") -> None:
    async def scenario(submitter: Submitter) -> None:
        polls = [submitter.poll(new_request_id(), APP) for _ in range(200)]
        answers = await asyncio.gather(*polls, return_exceptions=True)

        assert {type(answer) for answer in answers} == {RecallUnanswered}
        assert redis.llen(QUEUE_NAME) <= 50

    run(redis_url, scenario)


def test_text_that_is_no_request_id_is_unknown_at_once(redis_url: str, redis: "redis_client.Redis") -> None:
    async def scenario(submitter: Submitter) -> None:
        with pytest.raises(NotFound):
            await submitter.poll("../../etc/passwd", APP)
        with pytest.raises(NotFound):
            await submitter.poll("A" * 32, APP)
        assert redis.llen(QUEUE_NAME) == 0

    run(redis_url, scenario)
