"""What a Redis must be before a request is entrusted to it. Every process looks when it starts; `bksi doctor` any time.

A Redis that is away is no reason not to start: it is asked again by whoever diagnoses, and until it comes back nothing
is accepted anyway.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog
from redis.exceptions import RedisError

from contract.redis.connection import connect
from contract.redis.durability import APPEND_ONLY, Durability, examine_durability
from contract.redis.replay import MEND, Replay, examine_replay
from contract.settings import Settings
from plumbing.urls import has_credentials, is_local, unreadable_file, without_secrets

NEEDED_POLICY: Final = "noeviction"
CLUSTER_MEND: Final = (
    "Use one Redis or Valkey, with replicas if you like: what belongs together must change together, in one script, "
    "and a cluster spreads it over servers."
)
_log = structlog.get_logger(__name__)


SENTINEL_MEND: Final = (
    "Give the address of a Redis, or a name that leads to the primary and that a failover moves: HAProxy with a check "
    "for role:master, or an address that Sentinel's client-reconfig-script moves."
)


def is_sentinel(info: Mapping[str, Any]) -> bool:
    """Whether an ``INFO`` is a Sentinel's."""
    return "sentinel" in (info.get("redis_mode"), info.get("server_mode"))


class UnsafeRedis(Exception):
    """A process does not start on this Redis; the text says why and what to do. It holds no secret."""


async def require_safe_redis(settings: Settings) -> None:
    """Refuse a Redis that anybody may write to, or that throws away what it was given; warn of one that may lose it.

    Raises:
        UnsafeRedis: a file that its URL names cannot be read; it is beyond this machine and without a password, unless
            ``allow_insecure``; it is a cluster; it evicts keys; or it drops what was accepted when it is started again.
    """
    for url in settings.redis_servers:
        shown = without_secrets(url)
        if unreadable := unreadable_file(url):
            raise UnsafeRedis(f"{shown} cannot be used: {unreadable}")
        if not (settings.allow_insecure or is_local(url) or has_credentials(url)):
            raise UnsafeRedis(
                f"{shown} needs no password, so whoever reaches it can create and read anything. "
                "Set one (requirepass, or ACL users) and put it into the URL; BKSI_ALLOW_INSECURE=1 starts anyway."
            )
        told = await _ask(settings.model_copy(update={"redis_url": url}))
        if told.is_sentinel:
            raise UnsafeRedis(f"{shown} is a Sentinel. {SENTINEL_MEND}")
        if told.is_cluster:
            raise UnsafeRedis(f"{shown} is a node of a Redis Cluster. {CLUSTER_MEND}")
        if told.policy not in (None, NEEDED_POLICY):
            raise UnsafeRedis(
                f"{shown} has maxmemory-policy {told.policy}, which throws accepted requests away when "
                f"memory is short. Set it to {NEEDED_POLICY}."
            )
        if told.replay is Replay.LOSES:
            raise UnsafeRedis(
                f"{shown} drops accepted requests when it is started again: its user `default` has no rights. {MEND}"
            )
        if told.durability.is_known_to_lose:
            _log.warning(told.durability.value, redis=shown, mend=APPEND_ONLY)
        if told.replay is Replay.NOT_TOLD:
            _log.warning("rights of Redis' default user not checked", mend="allow this user +acl|dryrun")


@dataclass(frozen=True, slots=True)
class _Told:
    """`policy` is the ``maxmemory-policy``. Nothing where Redis is away or does not tell us."""

    policy: str | None = None
    replay: Replay | None = None
    durability: Durability = Durability.NOT_TOLD
    is_cluster: bool = False
    is_sentinel: bool = False


async def _ask(settings: Settings) -> _Told:
    client = connect(settings, connections=1)
    try:
        info = await client.info()
        if is_sentinel(info):
            return _Told(is_sentinel=True)
        policy = info.get("maxmemory_policy")
        replay = await examine_replay(client, settings, info)
        durability = await examine_durability(client, info)
        return _Told(None if policy is None else str(policy), replay, durability, bool(info.get("cluster_enabled")))
    except (RedisError, OSError) as error:
        _log.warning("Redis not checked", error=type(error).__name__)
        return _Told()
    finally:
        await client.aclose()
