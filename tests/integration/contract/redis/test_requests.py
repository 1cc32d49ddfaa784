"""The ledger's scripts against a real server: each is atomic, and repeating it changes nothing."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import uvloop

from contract.answer.report import Report
from contract.answer.status import Status
from contract.codes import Code
from contract.message import QUEUE_NAME, Caller, Payload
from contract.redis.connection import connect
from contract.redis.records import PendingEntry, read_done
from contract.redis.requests import IdempotencyConflict, QueueFull
from contract.request.batch import ServiceInstanceBatch
from contract.settings import Settings
from worker.custody.leases import Lease, Leases

BATCH = ServiceInstanceBatch(bk_biz_id=1, bk_module_id=60, processes=[], instances=[(2, None, None)])


async def listed(requests: Leases) -> list[str]:
    return [id_.decode() for id_ in await requests.client.zrange(requests.keys.of_app("esb_test"), 0, -1)]


def an_entry(app: str = "esb_test", digest: str = "d" * 64) -> PendingEntry:
    return replace(PendingEntry.of(uuid.uuid4().hex, BATCH, Caller(bk_app_code=app)), digest=digest)


def a_report(request_id: str, status: Status = Status.SUCCESS) -> Report:
    return Report(
        request_id=request_id,
        bk_app_code="esb_test",
        bk_biz_id=1,
        bk_module_id=60,
        status=status,
        data=[53] if status is Status.SUCCESS else None,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


@asynccontextmanager
async def open_store(url: str, **settings: Any) -> AsyncIterator[Leases]:
    configured = Settings(redis_url=url, **settings)
    client = connect(configured)
    await client.flushdb()
    yield Leases(client, configured)
    await client.aclose()


Scenario = Callable[[Leases], Coroutine[Any, Any, None]]


@pytest.fixture
def in_store(redis_url: str) -> Callable[..., None]:
    def run(scenario: Scenario, **settings: Any) -> None:
        async def main() -> None:
            async with open_store(redis_url, **settings) as requests:
                await scenario(requests)

        asyncio.run(main())

    return run


def test_reserve_writes_entry_pending_set_and_message_together(in_store: Callable[..., None]) -> None:
    async def scenario(requests: Leases) -> None:
        entry = an_entry()
        assert (await requests.submit(entry, b"message")).request_id == entry.request_id

        assert await requests.client.lrange(QUEUE_NAME, 0, -1) == [b"message"]
        assert await requests.client.zscore(requests.keys.pending, entry.request_id) is not None
        report = await requests.load(entry.request_id)
        assert report is not None
        assert (report.status, report.statistics.pending_count, report.bk_app_code) == (Status.PENDING, 1, "esb_test")

    in_store(scenario)


def test_reserve_repeated_after_a_lost_answer_pushes_once(in_store: Callable[..., None]) -> None:
    async def scenario(requests: Leases) -> None:
        entry = an_entry()
        for _ in range(3):
            assert (await requests.submit(entry, b"message", "key")).request_id == entry.request_id

        assert await requests.client.llen(QUEUE_NAME) == 1

    in_store(scenario)


def test_reserve_under_a_used_key_gives_the_first_request(in_store: Callable[..., None]) -> None:
    async def scenario(requests: Leases) -> None:
        entries = [an_entry() for _ in range(20)]
        holders = await asyncio.gather(*(requests.submit(entry, b"message", "key") for entry in entries))

        assert len({holder.request_id for holder in holders}) == 1
        assert sum(holder.created_at is not None for holder in holders) == 1, "the others were accepted before"
        assert await requests.client.llen(QUEUE_NAME) == 1
        other = await requests.submit(an_entry(app="other"), b"message", "key")
        assert other.request_id != holders[0].request_id

    in_store(scenario)


def test_reserve_under_a_used_key_with_another_body_is_a_conflict(in_store: Callable[..., None]) -> None:
    async def scenario(requests: Leases) -> None:
        await requests.submit(an_entry(), b"message", "key")
        with pytest.raises(IdempotencyConflict):
            await requests.submit(an_entry(digest="e" * 64), b"message", "key")

    in_store(scenario)


def test_reserve_beyond_the_limit_leaves_nothing(in_store: Callable[..., None]) -> None:
    async def scenario(requests: Leases) -> None:
        await requests.submit(an_entry(), b"message")
        refused = an_entry()
        with pytest.raises(QueueFull):
            await requests.submit(refused, b"message")

        assert await requests.load(refused.request_id) is None
        assert await requests.client.llen(QUEUE_NAME) == 1

    in_store(scenario, max_pending=1)


def test_entry_without_a_payload_is_none(in_store: Callable[..., None]) -> None:
    """What a Redis makes of an entry when it drops the script that wrote it, and keeps what a lease wrote to it."""

    async def scenario(requests: Leases) -> None:
        entry = an_entry()
        half = {"attempts": 1, "owner": "one", "lease": 2**50}
        name = requests.keys.request(entry.request_id)
        await requests.client.hset(name, mapping=half)
        await requests.client.zadd(requests.keys.pending, {entry.request_id: 1})

        assert await requests.load(entry.request_id) is None
        assert (await requests.lease(entry.request_id, "two")).state == "unknown"
        (pending,) = await requests.pending_before(2, 0, 1)
        assert not await requests.resend(pending, b"message")
        assert await requests.client.zcard(requests.keys.pending) == 0

        assert (await requests.submit(entry, b"message", "key")).request_id == entry.request_id
        assert await requests.client.lrange(QUEUE_NAME, 0, -1) == [b"message"]
        found = await requests.load(entry.request_id)
        assert found is not None
        assert found.status is Status.PENDING

        await requests.client.delete(name)
        await requests.client.hset(name, mapping=half)
        other = an_entry()
        holder = await requests.submit(other, b"message", "key", while_unfinished=True)
        assert holder.request_id == other.request_id

    in_store(scenario)


async def leased(requests: Leases, token: str = "one") -> tuple[PendingEntry, Lease]:
    entry = an_entry()
    await requests.submit(entry, b"message")
    return entry, await requests.lease(entry.request_id, token)


def test_lease_goes_to_one_owner_at_a_time(in_store: Callable[..., None]) -> None:
    async def scenario(requests: Leases) -> None:
        entry, first = await leased(requests)
        again = await requests.lease(entry.request_id, "one")
        second = await requests.lease(entry.request_id, "two")

        assert (first.state, first.attempts) == ("leased", 1)
        assert (again.state, again.attempts) == ("leased", 1)
        assert second.state == "held"
        assert first.payload == entry.payload
        assert Payload.load(first.payload).batch == BATCH

    in_store(scenario)


def test_leases_that_come_together_are_one_call_and_none_takes_more_than_an_answer_may_carry(
    in_store: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.custody.leases._LEASED_BYTES", 1)

    async def scenario(requests: Leases) -> None:
        entries = [an_entry() for _ in range(5)]
        for entry in entries:
            await requests.submit(entry, b"message")
        ids = [entry.request_id for entry in entries]

        leases = await asyncio.gather(*(requests.lease(id_, f"token of {id_}") for id_ in ids))

        assert [(lease.state, lease.attempts, lease.request_id) for lease in leases] == [
            ("leased", 1, id_) for id_ in ids
        ]
        assert [lease.payload for lease in leases] == [entry.payload for entry in entries]

    in_store(scenario)


def test_reserving_together_outlasts_a_redis_that_has_forgotten_the_scripts(in_store: Callable[..., None]) -> None:
    async def scenario(requests: Leases) -> None:
        await requests.submit(an_entry(), b"message")
        await requests.client.script_flush()
        entries = [an_entry() for _ in range(5)]
        full = entries[:1] * 2  # one of them twice

        held = await asyncio.gather(*(requests.submit(entry, b"message") for entry in (*entries, *full)))

        assert [holder.request_id for holder in held] == [entry.request_id for entry in (*entries, *full)]
        assert await requests.client.llen(QUEUE_NAME) == 6

    in_store(scenario)


@pytest.mark.parametrize("ids_in_data", [1, 10_000], ids=["short", "long"])
def test_saving_together_ends_each_and_says_so_in_one_message(in_store: Callable[..., None], ids_in_data: int) -> None:
    def of(request_id: str) -> Report:
        return a_report(request_id).model_copy(update={"data": list(range(ids_in_data))})

    async def scenario(requests: Leases) -> None:
        ids = [(await leased(requests))[0].request_id for _ in range(3)]
        async with requests.client.pubsub(ignore_subscribe_messages=True) as heard:
            await heard.subscribe(requests.keys.done_channel)
            await heard.get_message(timeout=1)

            saved = await asyncio.gather(*(requests.publish(of(id_)) for id_ in (*ids, ids[0])))

            assert saved == [True, True, True, False]
            message = None
            while message is None:
                message = await heard.get_message(timeout=1)
        said = read_done(message["data"])
        assert list(said) == ids
        # Long reports are for those alone who ask.
        assert [report and Report.load(report) for report in said.values()] == [
            of(id_) if ids_in_data == 1 else None for id_ in ids
        ]
        assert await requests.client.zcard(requests.keys.pending) == 0
        assert await asyncio.gather(*map(requests.load, ids)) == [of(id_) for id_ in ids]

    in_store(scenario)


def test_lease_that_ran_out_goes_to_the_next_and_is_not_extended(in_store: Callable[..., None]) -> None:
    async def scenario(requests: Leases) -> None:
        entry, first = await leased(requests)
        await requests.client.hset(requests.keys.request(entry.request_id), "lease", "1")
        second = await requests.lease(entry.request_id, "two", alone=True)

        assert (second.state, second.attempts) == ("leased", 2)
        assert await requests.extend("worker", [first]) == 0
        assert await requests.extend("worker", [second]) == 1
        assert not await requests.hand_back(first, b"message", count_attempt=True)

    in_store(scenario)


def test_what_was_started_before_and_never_ended_is_leased_alone(in_store: Callable[..., None]) -> None:
    async def scenario(requests: Leases) -> None:
        entry, first = await leased(requests)
        request_id = entry.request_id
        await requests.client.hset(requests.keys.request(request_id), "lease", "1")
        before = await requests.client.hgetall(requests.keys.request(request_id))

        suspect = await requests.lease(request_id, "two")
        assert (suspect.state, suspect.attempts, suspect.payload) == ("suspect", 0, b"")
        assert await requests.client.hgetall(requests.keys.request(request_id)) == before

        for _ in range(2):
            again = await requests.lease(request_id, "two", alone=True)
            assert (again.state, again.attempts, again.payload) == ("leased", 2, first.payload)
        assert (await requests.lease(request_id, "two")).attempts == 2
        assert (await requests.lease(request_id, "three", alone=True)).state == "held"

    in_store(scenario)


def test_lease_beyond_the_attempts_is_exhausted(in_store: Callable[..., None]) -> None:
    async def scenario(requests: Leases) -> None:
        entry, _ = await leased(requests)
        await requests.client.hset(requests.keys.request(entry.request_id), "lease", "1")

        assert (await requests.lease(entry.request_id, "two")).state == "exhausted"

    in_store(scenario, max_attempts=1)


def test_save_ends_the_entry_and_keeps_the_report(in_store: Callable[..., None]) -> None:
    async def scenario(requests: Leases) -> None:
        entry, _ = await leased(requests)
        request_id = entry.request_id
        report = a_report(request_id)

        assert await requests.publish(report)
        assert not await requests.publish(report)
        assert await requests.load(request_id) == report
        assert await requests.client.exists(requests.keys.request(request_id)) == 0
        assert await requests.client.zcard(requests.keys.pending) == 0
        assert (await requests.lease(request_id, "two")).state == "done"
        assert await requests.client.get(requests.keys.finished_count) == b"1"

    in_store(scenario)


def test_stored_report_shows_the_six_keys_to_a_bare_redis_client(in_store: Callable[..., None]) -> None:
    async def scenario(requests: Leases) -> None:
        report = a_report("f" * 32)
        await requests.publish(report)

        stored = json.loads(await requests.client.get(requests.keys.result("f" * 32)))
        assert list(stored)[:6] == ["result", "code", "message", "permission", "request_id", "data"]
        assert (stored["result"], stored["code"], stored["data"]) == (True, 0, [53])

    in_store(scenario)


def test_hand_back_queues_the_request_again_without_counting(in_store: Callable[..., None]) -> None:
    async def scenario(requests: Leases) -> None:
        entry, lease = await leased(requests)

        assert await requests.hand_back(lease, b"again", count_attempt=False)
        assert await requests.client.lrange(QUEUE_NAME, 0, 0) == [b"again"]
        assert (await requests.lease(entry.request_id, "two")).attempts == 1

    in_store(scenario)


def test_resend_by_many_reapers_pushes_once(in_store: Callable[..., None]) -> None:
    async def scenario(requests: Leases) -> None:
        entry = an_entry()
        await requests.submit(entry, b"message")
        await requests.client.delete(QUEUE_NAME)
        [pending] = await requests.pending_before(await requests.now_ms() + 1, skip=0, limit=100)
        await requests.client.zadd(requests.keys.pending, {pending.request_id: pending.pushed_ms - 1000})
        [pending] = await requests.pending_before(await requests.now_ms() + 1, skip=0, limit=100)

        pushed = await asyncio.gather(*(requests.resend(pending, b"again") for _ in range(5)))

        assert sorted(pushed) == [False, False, False, False, True]
        assert await requests.client.llen(QUEUE_NAME) == 1

    in_store(scenario)


def test_reports_that_are_saved_together_all_end_their_requests_however_many(in_store: Callable[..., None]) -> None:
    async def scenario(requests: Leases) -> None:
        entries = [an_entry() for _ in range(2_000)]
        await asyncio.gather(*(requests.submit(entry, b"message") for entry in entries))
        reports = [a_report(entry.request_id) for entry in entries]

        ended = await asyncio.gather(*(requests.publish(report) for report in reports))

        assert all(ended)
        assert await requests.load_many([entry.request_id for entry in entries]) == reports
        assert await requests.client.zcard(requests.keys.pending) == 0
        assert await requests.client.get(requests.keys.finished_count) == b"2000"
        assert not await requests.client.keys(requests.keys.request("*"))

    in_store(scenario)


def test_what_an_application_has_submitted_is_listed_for_as_long_as_reports_live(in_store: Callable[..., None]) -> None:
    async def scenario(requests: Leases) -> None:
        index, lives_ms, old = requests.keys.of_app("esb_test"), requests.settings.result_ttl_s * 1000, "0" * 32
        first, second, third = (an_entry() for _ in range(3))

        await requests.submit(first, b"message")
        assert lives_ms <= await requests.client.pttl(index) <= lives_ms + 60_000
        await requests.client.zadd(index, {old: 1})
        await requests.submit(second, b"message")
        assert set(await listed(requests)) == {first.request_id, second.request_id, old}

        # More than a minute later.
        await requests.client.pexpire(index, lives_ms - 1)
        await requests.submit(third, b"message")
        assert set(await listed(requests)) == {e.request_id for e in (first, second, third)}
        assert lives_ms <= await requests.client.pttl(index) <= lives_ms + 60_000

    in_store(scenario)


def test_cancel_before_any_start_ends_it_and_after_is_too_late(in_store: Callable[..., None]) -> None:
    async def scenario(requests: Leases) -> None:
        waiting = an_entry()
        await requests.submit(waiting, b"message")
        report = a_report(waiting.request_id, Status.TERMINATED)
        started, _ = await leased(requests)

        assert await requests.cancel(report) == 1
        assert await requests.load(waiting.request_id) == report
        assert (await requests.lease(waiting.request_id, "one")).state == "cancelled"
        assert await requests.cancel(a_report(started.request_id, Status.TERMINATED)) == 0
        assert await requests.cancel(a_report("e" * 32, Status.TERMINATED)) == -1

    in_store(scenario)


def test_what_was_cancelled_stays_so_where_redis_loses_its_report(in_store: Callable[..., None]) -> None:
    async def scenario(requests: Leases) -> None:
        entry = an_entry()
        await requests.submit(entry, b"message")
        cancelled = a_report(entry.request_id, Status.TERMINATED)
        assert await requests.cancel(cancelled) == 1

        await requests.client.delete(requests.keys.result(entry.request_id))

        assert await requests.load(entry.request_id) == cancelled

    in_store(scenario)


def test_what_a_worker_gave_back_uncounted_cannot_be_cancelled(in_store: Callable[..., None]) -> None:
    """PostgreSQL may have committed what the worker does not know of: it is too late to say that there is nothing."""

    async def scenario(requests: Leases) -> None:
        entry, lease = await leased(requests)
        assert await requests.hand_back(lease, b"again", count_attempt=False)

        assert await requests.cancel(a_report(entry.request_id, Status.TERMINATED)) == 0
        report = await requests.load(entry.request_id)
        assert report is not None
        assert (report.status, report.attempts) == (Status.PENDING, 0)

    in_store(scenario)


def test_another_application_cannot_cancel(in_store: Callable[..., None]) -> None:
    async def scenario(requests: Leases) -> None:
        entry = an_entry(app="other")
        await requests.submit(entry, b"message")

        assert await requests.cancel(a_report(entry.request_id, Status.TERMINATED)) == -1
        report = await requests.load(entry.request_id)
        assert report is not None
        assert report.status is Status.PENDING
        assert report.code == Code.STILL_RUNNING

    in_store(scenario)


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_connection_that_was_closed_unseen_is_replaced(
    redis_url: str, factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """It has to be an error that is tried again, and taken for an outage; and the next connection must not hang."""

    async def main() -> None:
        client = connect(Settings(redis_url=redis_url))
        assert await client.ping()
        for connection in client.connection_pool._available_connections:
            connection._writer.transport.abort()
        assert await client.ping()
        await client.aclose()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
