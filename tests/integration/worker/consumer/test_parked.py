"""Messages for a newer version of a task: an old worker parks them, a newer one runs them, nobody waits behind them."""

from collections.abc import Iterator

import orjson
import pytest
import redis as redis_client
from kombu import Connection

from contract.redis.records import Keys
from tests.unit.worker.consumer.transport.messages import raw, wire
from worker.consumer.transport.aside import Aside
from worker.consumer.transport.channel import Channel
from worker.consumer.transport.configure import TRANSPORT
from worker.consumer.transport.deliveries import Deliveries

QUEUE = "queue"
WEEK_MS = 7 * 86_400_000
NEWER = [raw(wire("mark.v2", task_id=f"newer-{number}")) for number in range(30)]


class Consumers:
    """Channels of workers that know other tasks, on one Redis; without Celery."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connections: list[Connection] = []

    def knowing(self, *tasks: str) -> Channel:
        connection = Connection(self._url, transport=TRANSPORT, transport_options={"task_names": tasks})
        self._connections.append(connection)
        channel: Channel = connection.channel()
        # What is consumed with acknowledgements is taken, and only who takes looks at what is parked.
        channel.basic_consume(QUEUE, no_ack=False, callback=print, consumer_tag="test")
        return channel

    def close(self) -> None:
        for connection in self._connections:
            connection.close()


@pytest.fixture
def consumers(redis_url: str, redis: redis_client.Redis) -> Iterator[Consumers]:
    consumers = Consumers(redis_url)
    yield consumers
    consumers.close()


def ids(channel: Channel) -> list[str]:
    """Of all that waits, as the channel takes it."""
    found = []
    while message := channel.basic_get(QUEUE):
        found.append(message.headers["id"])
        message.ack()
    return found


def letters(redis: redis_client.Redis) -> list[tuple[str, str, str]]:
    return [
        (letter["task_id"], letter["queue"], letter["reason"])
        for letter in map(orjson.loads, redis.lrange("bksi:dead", 0, -1))
    ]


@pytest.mark.bad_input(94, "thousands of messages for a newer version of a task", "parked for a newer worker, counted")
def test_request_behind_newer_messages_does_not_wait_and_they_are_parked(
    redis: redis_client.Redis, consumers: Consumers
) -> None:
    redis.lpush(QUEUE, *NEWER, raw(wire("mark.v1", task_id="mine")))

    assert ids(consumers.knowing("mark.v1")) == ["mine"]

    parked = redis.lrange("bksi:parked", 0, -1)
    assert [one.split(b"\n", 2)[2] for one in reversed(parked)] == NEWER
    assert redis.llen(QUEUE) == redis.llen("bksi:dead") == 0


def test_parked_messages_are_run_by_a_worker_that_knows_the_task_and_stay_with_others(
    redis: redis_client.Redis, consumers: Consumers
) -> None:
    redis.lpush(QUEUE, *NEWER)
    redis.lpush(f"{QUEUE}\x06\x163", raw(wire("mark.v2", task_id="of a priority")))
    redis.lpush(QUEUE, raw(wire("mark.v3", task_id="newest")))
    old, newer = consumers.knowing("mark.v1"), consumers.knowing("mark.v1", "mark.v2")
    assert ids(old) == []
    old.heartbeat()
    assert redis.llen(QUEUE) == 0

    newer.consumer.turn(0)
    newer.heartbeat()

    assert redis.llen(f"{QUEUE}\x06\x163") == 1
    assert ids(newer) == [*(f"newer-{number}" for number in range(30)), "of a priority"]
    (left,) = redis.lrange("bksi:parked", 0, -1)
    assert left.split(b"\n", 2)[1:] == [QUEUE.encode(), raw(wire("mark.v3", task_id="newest"))]
    assert letters(redis) == []


def test_more_than_may_be_parked_are_dead_letters(
    redis: redis_client.Redis, consumers: Consumers, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("admission", "aside"):
        monkeypatch.setattr(f"worker.consumer.transport.{module}.MAX_PARKED", 2)
    redis.lpush(QUEUE, *NEWER[:3])

    assert ids(consumers.knowing("mark.v1")) == []

    assert redis.llen("bksi:parked") == 2
    reason = "headers.task is of a newer version, and 2 such messages are parked already"
    assert letters(redis) == [("newer-2", QUEUE, reason)]


def test_message_that_was_parked_for_a_week_is_a_dead_letter(redis: redis_client.Redis, consumers: Consumers) -> None:
    seconds, _ = redis.time()
    old, young = (f"{seconds * 1000 - age} mark.v2\n{QUEUE}\n".encode() for age in (WEEK_MS + 1, WEEK_MS - 600_000))
    redis.lpush("bksi:parked", old + NEWER[0], b"nothing that was ever parked", young + NEWER[1])
    channel = consumers.knowing("mark.v1")
    channel.consumer.turn(0)

    channel.heartbeat()

    assert redis.lrange("bksi:parked", 0, -1) == [young + NEWER[1]]
    reason = "no worker that knows its task came within 7 days"
    assert letters(redis) == [(None, "bksi:parked", reason), ("newer-0", QUEUE, reason)]


def test_many_parked_messages_are_looked_at_a_few_at_a_time_and_all_in_the_end(
    redis: redis_client.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.consumer.transport.aside._SIFTED_AT_ONCE", 4)
    tasks = ["mark.v3", "mark.v2", "mark.v2", "mark.v3", "mark.v3", "mark.v3", "mark.v3", "mark.v2", "mark.v3"]
    seconds, _ = redis.time()
    parked = [f"{seconds * 1000} {task}\n{QUEUE}\n{number}".encode() for number, task in enumerate(tasks)]
    redis.lpush("bksi:parked", *parked)
    consumer = Aside(Deliveries(lambda: redis, Keys("bksi:"), 60_000))

    assert [consumer.sift(["mark.v1", "mark.v2"]) for _ in range(4)] == [(2, 0), (1, 0), (0, 0), (0, 0)]

    assert redis.lrange(QUEUE, 0, -1) == [b"7", b"2", b"1"]
    assert redis.lrange("bksi:parked", 0, -1) == [one for one in reversed(parked) if b"mark.v3" in one]


def test_message_that_cannot_be_parked_is_not_lost(redis: redis_client.Redis, consumers: Consumers) -> None:
    """The list is no list: it is set aside, and what was taken goes behind what waits for another try."""
    redis.set("bksi:parked", "x")
    redis.lpush(QUEUE, NEWER[0])
    channel = consumers.knowing("mark.v1")

    assert channel.basic_get(QUEUE) is None

    assert redis.exists("bksi:parked") == 0
    assert redis.hvals(channel.consumer.unacked).count(NEWER[0]) == 1
