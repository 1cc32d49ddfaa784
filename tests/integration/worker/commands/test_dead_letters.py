"""Dead letters against real servers: written once, sent again safely, dropped; and the commands an operator uses."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis as redis_client

from contract.answer.report import Report
from contract.answer.status import Status
from contract.codes import Code, Refused
from contract.message import QUEUE_NAME, Payload, TaskArguments, build_direct_message
from contract.redis.records import PAYLOAD_TTL_S
from contract.settings import load_settings
from devstack.process import Guard
from devstack.servers import Valkey
from tests.conftest import RunBksi
from tests.integration.worker.bench import BATCH, Bench
from worker.cli import app
from worker.commands import console
from worker.commands.dead_letters.letters import CannotRequeue, DeadLetter, DeadLetters
from worker.consumer.transport.letter import dead_letter
from worker.custody.finish import finish
from worker.postgres import ledger
from worker.postgres.engine import create_engine
from worker.postgres.errors import DatabaseError

pytestmark = pytest.mark.anyio
DEAD = "bksi:dead"


def letter_at(at: int, raw: bytes, **about: Any) -> bytes:
    return json.dumps(json.loads(dead_letter(raw, **about)) | {"at": at}).encode()


@pytest.fixture
def letters(bench: Bench) -> DeadLetters:
    return DeadLetters(bench.leases, bench.queue, has_queue=True)


async def give_up(bench: Bench) -> Report:
    """A request that was taken and ended as a dead letter."""
    (id_,) = await bench.accept()
    bench.take(1)
    return await finish(bench.leases, bench.engine, await given_up(bench, id_))


async def given_up(bench: Bench, id_: str) -> Report:
    """The report of a request that was started too often."""
    lease = await bench.leases.lease(id_, "token")
    assert lease.created_at is not None
    return Report.failed(
        Refused(Code.DEAD_LETTER),
        [2],
        request_id=id_,
        bk_app_code="app",
        bk_biz_id=1,
        bk_module_id=60,
        created_at=lease.created_at,
        finished_at=await bench.leases.now(),
        attempts=4,
    )


async def only(letters: DeadLetters) -> DeadLetter:
    [letter] = [letter async for letter in letters]
    return letter


async def test_request_that_was_given_up_leaves_one_letter_however_often_its_report_is_saved(
    bench: Bench, letters: DeadLetters
) -> None:
    report = await give_up(bench)
    await bench.leases.publish(report)

    letter = await only(letters)
    assert (letter.id, letter.kind, letter.reason) == (report.request_id, "request", report.message())
    assert letter.about == {
        "created": round(report.created_at.timestamp() * 1000),
        "app": "app",
        "biz": 1,
        "module": 60,
        "count": 1,
        "attempts": 4,
        "job": "",
    }
    # Its answer may be gone by the time an operator looks; what it asked for is not.
    assert bench.redis.ttl(f"bksi:kept:{report.request_id}") > PAYLOAD_TTL_S - 60


async def test_request_that_ended_otherwise_leaves_no_letter(bench: Bench, letters: DeadLetters) -> None:
    (id_,) = await bench.accept(request_deadline_s=0.001)
    bench.age()
    assert await bench.reaper.sweep() == 1

    assert await letters.count() == 0
    assert bench.redis.exists(f"bksi:kept:{id_}")


async def test_revived_request_is_as_if_it_had_just_been_accepted(bench: Bench, letters: DeadLetters) -> None:
    report = await give_up(bench)
    id_ = report.request_id

    assert await letters.revive(await only(letters), bench.engine)

    assert await letters.count() == 0
    assert bench.waiting() == [id_]
    assert bench.pending() == {id_}
    assert await ledger.load(bench.engine, id_) is None
    pending = await bench.leases.load(id_)
    assert pending is not None
    assert (pending.status, pending.attempts, pending.bk_app_code) == (Status.PENDING, 0, "app")
    assert pending.created_at == report.created_at
    lease = await bench.leases.lease(id_, "another token")
    assert (lease.state, lease.attempts) == ("leased", 1)
    assert Payload.load(lease.payload).batch == BATCH


async def test_revived_request_may_be_given_up_again(bench: Bench, letters: DeadLetters) -> None:
    report = await give_up(bench)
    await letters.revive(await only(letters), bench.engine)

    again = report.model_copy(update={"finished_at": await bench.leases.now()})
    assert await finish(bench.leases, bench.engine, again) == again

    assert (await only(letters)).id == report.request_id
    assert bench.pending() == set()


async def test_worker_that_was_frozen_before_it_gave_up_ends_nothing_that_was_revived(
    bench: Bench, letters: DeadLetters
) -> None:
    report = await give_up(bench)
    id_ = report.request_id
    await letters.revive(await only(letters), bench.engine)

    assert not await bench.leases.publish(report, token="token")
    assert bench.pending() == {id_}
    assert await letters.count() == 0
    assert (await bench.leases.lease(id_, "another token")).state == "leased"
    assert not await bench.leases.publish(report, token="token")
    assert bench.pending() == {id_}

    ended = report.ended(Refused(Code.MODULE_NOT_FOUND), finished_at=report.created_at, expires_at=report.created_at)
    assert await bench.leases.publish(ended, token="another token")
    assert not await bench.leases.publish(report, token="token")
    assert await bench.leases.load(id_) == ended
    assert await letters.count() == 0


async def test_request_that_two_operators_revive_at_once_stands_in_the_queue_once(
    bench: Bench, letters: DeadLetters
) -> None:
    report = await give_up(bench)
    letter = await only(letters)

    done = await asyncio.gather(*(letters.revive(letter, bench.engine) for _ in range(4)))

    assert True in done
    assert bench.waiting() == [report.request_id]
    assert bench.redis.zcard("bksi:pending") == 1


async def test_nothing_changes_while_the_database_is_away(bench: Bench, letters: DeadLetters) -> None:
    report = await give_up(bench)
    letter = await only(letters)
    nowhere = create_engine("postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(DatabaseError):
        await letters.revive(letter, nowhere)
    await nowhere.dispose()

    assert await only(letters) == letter
    assert await bench.leases.load(report.request_id) == report
    entry = await ledger.load(bench.engine, report.request_id)
    assert entry is not None
    assert entry.report == report
    assert bench.waiting() == []


async def test_letter_that_was_dropped_meanwhile_stays_dropped(bench: Bench, letters: DeadLetters) -> None:
    report = await give_up(bench)
    letter = await only(letters)
    payload = bench.redis.get(f"bksi:kept:{report.request_id}")
    assert await letters.drop(letter)
    assert not await letters.drop(letter)
    assert not await letters.revive(letter, bench.engine)
    bench.redis.set(f"bksi:kept:{report.request_id}", payload or b"")
    assert not await letters.revive(letter, bench.engine)

    assert await bench.leases.load(report.request_id) == report
    assert await ledger.load(bench.engine, report.request_id) is not None
    assert bench.waiting() == []


async def test_request_whose_payload_is_gone_or_too_new_stays(bench: Bench, letters: DeadLetters) -> None:
    kept = f"bksi:kept:{(await give_up(bench)).request_id}"
    payload = bench.redis.getdel(kept)
    assert payload
    letter = await only(letters)
    with pytest.raises(CannotRequeue, match="not kept"):
        await letters.revive(letter, bench.engine)

    bench.redis.set(kept, payload.replace(b'"bk_module_id":60', b'"bk_module_id":"of a later version"'))
    with pytest.raises(CannotRequeue, match="this version"):
        await letters.revive(letter, bench.engine)

    assert await only(letters) == letter


async def test_message_goes_back_to_the_list_it_came_from_unchanged(bench: Bench, letters: DeadLetters) -> None:
    raw = b"\x00\xff not a message"
    bench.redis.lpush(DEAD, letter_at(5, raw, queue=f"{QUEUE_NAME}\x06\x163", reason="why"))
    letter = await only(letters)

    assert await letters.push(letter)
    assert not await letters.push(letter)

    assert bench.redis.lrange(f"{QUEUE_NAME}\x06\x163", 0, -1) == [raw]
    assert await letters.count() == 0


async def test_message_of_which_only_the_beginning_was_kept_stays(bench: Bench, letters: DeadLetters) -> None:
    bench.redis.lpush(DEAD, letter_at(5, b"x" * 300_000, queue=QUEUE_NAME, reason="too large"))

    with pytest.raises(CannotRequeue, match="300000 bytes"):
        await letters.push(await only(letters))

    assert await letters.count() == 1


async def test_letters_that_come_while_others_are_read_hide_none_and_double_none(
    bench: Bench, letters: DeadLetters
) -> None:
    def put(number: int) -> None:
        bench.redis.lpush(DEAD, letter_at(number, b"", queue=QUEUE_NAME, reason=str(number)))

    for number in range(120):
        put(number)

    read = []
    async for letter in letters:
        if letter.reason == "100":
            put(120)
        read.append(int(letter.reason))

    assert read == list(range(119, -1, -1))


@pytest.fixture
def broker(guard: Guard, tmp_path: Path) -> Iterator[Valkey]:
    """A Redis that has the queue and nothing else."""
    with Valkey(tmp_path / "broker", guard) as broker:
        yield broker


@pytest.fixture
def queue(broker: Valkey) -> Iterator["redis_client.Redis"]:
    with redis_client.Redis.from_url(broker.url) as queue:
        yield queue


@pytest.fixture
async def remote(
    anyio_backend: str, redis_url: str, redis: "redis_client.Redis", database: str, broker: Valkey
) -> AsyncIterator[Bench]:
    """A bench whose queue is on `broker`."""
    bench = Bench(redis, redis_url=redis_url, postgres_dsn=database, broker_url=broker.url)
    yield bench
    await bench.close()


async def test_request_whose_queue_is_elsewhere_is_published_there(
    remote: Bench, broker: Valkey, queue: "redis_client.Redis"
) -> None:
    """Or later, by a reaper, when the broker is away."""
    letters = DeadLetters(remote.leases, remote.queue, has_queue=False)
    first = await finish(remote.leases, remote.engine, await given_up(remote, *await remote.accept()))
    assert await letters.revive(await only(letters), remote.engine)
    assert [json.loads(raw)["headers"]["id"] for raw in queue.lrange(QUEUE_NAME, 0, -1)] == [first.request_id]

    second = await finish(remote.leases, remote.engine, await given_up(remote, *await remote.accept()))
    letter = await only(letters)
    broker.stop()
    assert await letters.revive(letter, remote.engine)
    assert remote.pending() == {first.request_id, second.request_id}


async def test_message_that_could_not_be_taken_goes_back_to_a_queue_that_is_elsewhere(
    remote: Bench, broker: Valkey, queue: "redis_client.Redis"
) -> None:
    letters = DeadLetters(remote.leases, remote.queue, has_queue=False)
    arguments = TaskArguments(request_id="a" * 32, batch={"bk_biz_id": 1})
    message = build_direct_message(remote.celery, arguments)
    await remote.leases.set_aside("a" * 32, letter_at(5, message, queue=QUEUE_NAME, reason="why"))

    assert await letters.push(await only(letters))

    (pushed,) = queue.lrange(QUEUE_NAME, 0, -1)
    _, kwargs, _ = json.loads(base64.b64decode(json.loads(pushed)["body"]))
    assert kwargs == arguments.model_dump(exclude_unset=True)
    assert await letters.count() == 0


@pytest.fixture
def dlq(
    bench: Bench, redis_url: str, database: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Awaitable[tuple[int, str, str]]]]:
    """``await dlq("ls", …)`` → exit code, stdout and stderr of the command, run in a thread of this process."""
    monkeypatch.setenv("BKSI_REDIS_URL", redis_url)
    monkeypatch.setenv("BKSI_POSTGRES_DSN", database)
    monkeypatch.setattr(console.out, "width", 200)
    load_settings.cache_clear()

    async def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()  # what this process has logged before is not the command's
        code = await asyncio.to_thread(app, ["dlq", *arguments], result_action="return_value")
        return (code, *capsys.readouterr())

    yield run
    load_settings.cache_clear()


async def test_commands_list_and_show(bench: Bench, letters: DeadLetters, dlq: Any) -> None:
    assert await dlq("ls") == (0, "No dead letters.\n", "")
    report = await give_up(bench)
    bench.redis.lpush(DEAD, letter_at(5, b"{", queue=QUEUE_NAME, reason="[red]the message is not JSON"))
    (message,) = [letter async for letter in letters if letter.kind == "message"]

    code, listed, _ = await dlq("ls")
    assert code == 0
    for text in (
        report.request_id,
        message.id,
        "[red]the message is not JSON",
        "biz=1 module=60 instances=1",
        "2 of 2",
    ):
        assert text in listed
    code, listed, _ = await dlq("ls", "--kind", "message", "--json")
    listing = json.loads(listed)
    assert (listing["total"], [letter["id"] for letter in listing["letters"]]) == (2, [message.id])
    assert "raw" not in listing["letters"][0]

    code, shown, _ = await dlq("show", report.request_id, "--json")
    document = json.loads(shown)
    assert (document["reason"], document["attempts"], document["can_requeue"]) == (report.message(), 4, True)
    assert datetime.fromisoformat(document["created"]) - report.created_at < timedelta(milliseconds=1)
    code, shown, _ = await dlq("show", message.id)
    assert "the message is not JSON" in shown
    assert await dlq("show", message.id, "--raw") == (0, "{", "")
    assert await dlq("show", "0" * 32) == (1, "", f"{'0' * 32}: there is no such dead letter\n")


async def test_commands_requeue_and_drop(bench: Bench, letters: DeadLetters, dlq: Any) -> None:
    report, other = await give_up(bench), await give_up(bench)
    bench.redis.lpush(DEAD, letter_at(5, b"{", queue=QUEUE_NAME, reason="the message is not JSON"))
    (message,) = [letter async for letter in letters if letter.kind == "message"]

    code, done, failed = await dlq("requeue", report.request_id, message.id, "0" * 32)
    assert (code, done) == (1, f"{report.request_id}: requeued\n{message.id}: requeued\n")
    assert "there is no such dead letter" in failed
    assert bench.pending() == {report.request_id}
    assert bench.redis.lrange(QUEUE_NAME, 0, 0) == [b"{"]

    code, done, _ = await dlq("drop", other.request_id, "--json")
    assert (code, json.loads(done)) == (0, [{"id": other.request_id, "done": True, "reason": None}])
    assert await letters.count() == 0
    assert await bench.leases.load(other.request_id) == other


def test_commands_without_redis_say_so_in_one_line(bksi: RunBksi) -> None:
    listed = bksi("dlq", "ls", env={"BKSI_REDIS_URL": "redis://:secret@127.0.0.1:1/0"})

    assert (listed.returncode, listed.stderr.splitlines()[1:]) == (1, [])
    assert listed.stderr.startswith("BKSI_REDIS_URL (redis://127.0.0.1:1/0): ")
