"""What consumers take from a real Redis when there are several of them."""

import pytest
import redis as redis_client

from contract.redis.records import Keys
from worker.consumer.transport.deliveries import Deliveries

LIST = "queue"
MESSAGES = [f"message {number:02}".encode() for number in range(100)]


def consumers(redis: redis_client.Redis, count: int, ttl_ms: int = 60_000) -> list[Deliveries]:
    found = [Deliveries(lambda: redis, Keys("bksi:"), ttl_ms) for _ in range(count)]
    for consumer in found:
        consumer.turn(0)
    return found


def test_one_consumer_leaves_the_others_their_share(redis: redis_client.Redis) -> None:
    first, second, third = consumers(redis, 3)
    redis.lpush(LIST, *(f"message {number}" for number in range(8)))

    taken = [len(consumer.turn(100, [LIST])) for consumer in (first, second, third, first, second)]

    assert taken == [3, 2, 1, 1, 1]
    assert redis.llen(LIST) == 0


def test_consumer_that_is_alone_takes_all_that_it_wants(redis: redis_client.Redis) -> None:
    (only,) = consumers(redis, 1)
    redis.lpush(LIST, *(f"message {number}" for number in range(8)))

    assert [one.raw for one in only.turn(5, [LIST])] == [f"message {number}".encode() for number in range(5)]
    assert len(only.turn(100, [LIST])) == 3


def test_share_of_a_dead_consumer_is_the_others(redis: redis_client.Redis) -> None:
    living, dead = consumers(redis, 2)
    redis.zadd("bksi:consumers", {dead.name: 1})
    redis.lpush(LIST, *(f"message {number}" for number in range(8)))

    assert len(living.turn(100, [LIST])) == 8


def test_consumer_that_died_before_the_clock_was_put_back_is_found_out(redis: redis_client.Redis) -> None:
    living, dead = consumers(redis, 2, ttl_ms=1)
    redis.lpush(LIST, *MESSAGES)
    dead.turn(2, [LIST])
    for consumer in (living, dead):
        redis.zincrby("bksi:consumers", 3_600_000, consumer.name)

    moved = [living.heartbeat()]
    while not any(moved):
        moved.append(living.heartbeat())

    assert sum(moved) == 2
    assert redis.llen(LIST) == len(MESSAGES)


def test_all_that_one_turn_takes_is_held_and_comes_in_order(redis: redis_client.Redis) -> None:
    (only,) = consumers(redis, 1)
    redis.lpush(LIST, *MESSAGES)

    taken = only.turn(100, [LIST])

    assert [one.raw for one in taken] == MESSAGES
    assert redis.hgetall(only.unacked) == {one.tag.encode(): one.raw for one in taken}
    assert redis.llen(LIST) == 0


def test_one_turn_takes_no_more_than_fits_an_answer(redis: redis_client.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.consumer.transport.deliveries.BUDGET", 11 * len(MESSAGES[0]) - 5)
    (only,) = consumers(redis, 1)
    redis.lpush(LIST, *MESSAGES)

    # The last one of each goes beyond it: it is known only once it is read.
    assert [one.raw for one in only.turn(100, [LIST])] == MESSAGES[:11]
    assert [one.raw for one in only.turn(100, [LIST])] == MESSAGES[11:22]
    assert redis.hlen(only.unacked) == 22
    assert redis.llen(LIST) == 78


def test_turn_that_is_made_twice_overwrites_nothing(redis: redis_client.Redis) -> None:
    (only,) = consumers(redis, 1)
    redis.lpush(LIST, *MESSAGES)
    number = only._number
    first = only.turn(10, [LIST])

    only._number = number + 3  # as if some of its numbers had been used before
    second = only.turn(10, [LIST])

    assert [one.raw for one in (*first, *second)] == MESSAGES[:20]
    assert redis.hgetall(only.unacked) == {one.tag.encode(): one.raw for one in (*first, *second)}
