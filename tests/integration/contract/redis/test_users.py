"""What `sender` and `flower` of docker-compose.yml may do: each command of the server at hand, on each kind of key."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis as redis_client
from redis.exceptions import ResponseError

from devstack.process import Guard
from tests.compose_redis import ComposeRedis

QUEUE, PRIORITY = "service_instance", "service_instance\x06\x163"
BOUND, BOUND_FOR_GOOD = "_kombu.binding.service_instance", "_kombu.binding_permanent.service_instance"
EVENTS, MAILBOX = "_kombu.binding.celeryev", "_kombu.binding.celery.pidbox"
KEPT_EVENTS, KEPT_MAILBOX = "_kombu.binding_permanent.celeryev", "_kombu.binding_permanent.celery.pidbox"
REPLIES, KEPT_REPLIES = "_kombu.binding.reply.celery.pidbox", "_kombu.binding_permanent.reply.celery.pidbox"
DEADLINES, HEARD = "_kombu.binding_deadlines", "celeryev.1"
REPLY = "f5cd1f7a-33f4-3a5b-8a9c-0d2f2b8cbf5e.reply.celery.pidbox"
EVENT_CHANNEL, MAILBOX_CHANNEL, DONE_CHANNEL = "/0.celeryev/*", "/0.celery.pidbox", "bksi:done"
REPORT = "bksi:result:1"
NAMES = (
    *(QUEUE, PRIORITY, BOUND, BOUND_FOR_GOOD, EVENTS, MAILBOX, KEPT_EVENTS, KEPT_MAILBOX, REPLIES, KEPT_REPLIES),
    *(DEADLINES, HEARD, REPLY, EVENT_CHANNEL, MAILBOX_CHANNEL, DONE_CHANNEL, REPORT, "celery", "unacked", "other"),
    *("bksi:req:1", "bksi:kept:1", "bksi:pending", "bksi:dead", "bksi:workers", "bksi:unacked:1", "bksi:idem:1"),
)
ANYWHERE = ("reset", "auth", "hello", "ping", "select", "quit", "multi", "exec", "discard", "client|setname")
TABLES = (EVENTS, MAILBOX, KEPT_EVENTS, KEPT_MAILBOX, REPLIES, KEPT_REPLIES, DEADLINES)
CONSUMED = (HEARD, REPLY)
# What runs a script is refused in it whatever the user may not do; the call itself needs no key.
MAY: dict[str, dict[str, tuple[str, ...]]] = {
    "sender": {
        "lpush": (QUEUE,),
        "llen": (QUEUE, PRIORITY),
        "sadd": (BOUND, BOUND_FOR_GOOD),
        "smembers": (BOUND, BOUND_FOR_GOOD),
        "get": (REPORT,),
        **dict.fromkeys(ANYWHERE, NAMES),
    },
    "flower": {
        "llen": (*CONSUMED, QUEUE, PRIORITY, "celery"),
        **dict.fromkeys(("brpop", "pexpire"), CONSUMED),
        **dict.fromkeys(("exists", "del"), (*CONSUMED, *TABLES)),
        **dict.fromkeys(("sadd", "srem", "smembers", "zadd", "zrem", "zrangebyscore"), TABLES),
        **dict.fromkeys(("subscribe", "psubscribe"), (EVENT_CHANNEL,)),
        "publish": (MAILBOX_CHANNEL,),
        **dict.fromkeys(
            (*ANYWHERE, "script|load", "script|exists", "evalsha", "time", "unsubscribe", "punsubscribe"), NAMES
        ),
    },
}


@pytest.fixture(scope="module")
def operator(guard: Guard, tmp_path_factory: pytest.TempPathFactory) -> Iterator["redis_client.Redis"]:
    def with_operator(command: str) -> str:
        return command + ' --user operator on ">op" "~*" "&*" +@all'

    with (
        ComposeRedis(tmp_path_factory.mktemp("users"), guard, with_operator) as server,
        redis_client.Redis(port=server.port or 0, username="operator", password="op", decode_responses=True) as client,
    ):
        yield client


@pytest.mark.parametrize("user", MAY)
@pytest.mark.bad_input(
    101,
    "anything but sending, with a sender's password: CLIENT PAUSE, CLIENT TRACKING, the queue's other keys …",
    "refused by Redis",
)
def test_user_may_do_what_stands_here_and_nothing_else(operator: "redis_client.Redis", user: str) -> None:
    names = every_command(operator)
    answers = verdicts(operator, user, [(name, "other") for name in names])
    # Whatever its form, a command is refused as such, or for its key or channel.
    assert [name for name in names if not answers[name, "other"]] == []
    open_ = [name for name in names if not all("run the" in verdict for verdict in answers[name, "other"])]
    found = verdicts(operator, user, [(name, target) for name in open_ for target in NAMES])
    may = {name: {target for target in NAMES if "OK" in found[name, target]} for name in open_}

    assert may == {name: set(targets) for name, targets in MAY[user].items()}


def verdicts(
    operator: "redis_client.Redis", user: str, asked: list[tuple[str, str]]
) -> dict[tuple[str, str], list[str]]:
    """Command and target → what the server says to each form that it takes for one."""
    with operator.pipeline(transaction=False) as pipe:
        for name, target in asked:
            for command in forms(name, target):
                pipe.execute_command("ACL", "DRYRUN", user, *command)
        answers = iter(pipe.execute(raise_on_error=False))
    return {
        (name, target): [
            str(answer) for _ in forms(name, target) if not isinstance(answer := next(answers), ResponseError)
        ]
        for name, target in asked
    }


def every_command(operator: "redis_client.Redis") -> list[str]:
    """The server's commands, ``client|pause`` where one has several."""
    operator.set_response_callback("COMMAND", lambda commands, **_: commands)
    commands: Any = operator.execute_command("COMMAND")
    names = [name for command in commands for name in ([below[0] for below in command[9]] or [command[0]])]
    assert len(names) > 300
    return names


def forms(name: str, target: str) -> list[tuple[Any, ...]]:
    """Ways to call a command with a key or a channel: as every argument, or after a number of keys."""
    words = name.split("|")
    return [
        *((*words, *[target] * number) for number in range(9)),
        *((*words, "x", "1", *[target] * number) for number in range(1, 4)),
        *((*words, "1", *[target] * number) for number in range(1, 4)),
        (*words, target, "x", "STREAMS", target, "0"),
        (*words, "STREAMS", target, "0"),
    ]
