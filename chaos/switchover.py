"""A planned switchover of Redis, as operators do it: the replica has everything before it becomes the primary."""

import time
from collections.abc import Callable
from typing import Final, cast

import redis

from devstack.process import ProcessFailed
from devstack.servers import Valkey

_WITHIN_S: Final = 30.0
_PAUSE_MS: Final = 10_000
_LOOK_S: Final = 0.02


def follow(replica: Valkey, primary: Valkey) -> None:
    """Make a server the replica of another one that has the same passwords, and wait until it has everything on disk.

    Raises:
        ProcessFailed: it does not come to that.
    """
    with _client(replica) as client, _client(primary) as followed:
        # It waits for further replicas, by default for five seconds. There is one.
        followed.config_set("repl-diskless-sync-delay", "0")
        _replicate(client, replica, primary)

        def has_all() -> bool:
            info = cast("dict[str, object]", client.info())
            rewrites = info["aof_rewrite_in_progress"] or info["aof_rewrite_scheduled"]
            return info.get("master_link_status") == "up" and bool(info["aof_enabled"]) and not rewrites

        _wait(has_all, "the replica has not followed")


def change_places(old: Valkey, new: Valkey, move: Callable[[], None]) -> None:
    """Make `new`, which follows `old`, the primary and `old` its replica; `move` leads new connections to it.

    Whoever has a connection to `old` keeps it, and is told READONLY.

    Raises:
        ProcessFailed: the replica does not catch up.
    """
    with _client(old) as leaving, _client(new) as coming:
        leaving.client_pause(_PAUSE_MS, all=False)
        wanted = cast("dict[str, int]", leaving.info("replication"))["master_repl_offset"]

        def has_caught_up() -> bool:
            return cast("dict[str, int]", coming.info("replication"))["slave_repl_offset"] >= wanted

        _wait(has_caught_up, "the replica has not caught up")
        coming.replicaof("NO", "ONE")
        move()
        _replicate(leaving, old, new)
        leaving.client_unpause()


def _replicate(client: "redis.Redis", replica: Valkey, primary: Valkey) -> None:
    client.config_set("masterauth", replica.operator_password)
    client.config_set("masteruser", replica.operator)
    client.replicaof("127.0.0.1", str(primary.port))


def _client(server: Valkey) -> "redis.Redis":
    return redis.Redis.from_url(server.url)


def _wait(condition: Callable[[], bool], what: str) -> None:
    give_up_at = time.monotonic() + _WITHIN_S
    while not condition():
        if time.monotonic() > give_up_at:
            raise ProcessFailed(f"{what} within {_WITHIN_S:g} s")
        time.sleep(_LOOK_S)
