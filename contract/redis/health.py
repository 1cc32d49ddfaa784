"""Whether a Redis takes what a submit would write, and which server it is: a name may lead to another than before."""

from collections.abc import Mapping
from typing import Any, Final

import redis.asyncio as aioredis
from redis.exceptions import RedisError

from contract.redis.keys import Keys

_PROBE_TTL_S: Final = 10


async def write_probe(client: "aioredis.Redis", keys: Keys) -> str:
    """Write a key that is gone in ten seconds; which server took it, as `describe` says it.

    Raises:
        redis.exceptions.RedisError: it does not take it: it is away, a replica, full, or refuses this user.
    """
    async with client.pipeline(transaction=False) as pipe:
        pipe.set(keys.probe, 1, ex=_PROBE_TTL_S)
        pipe.info("server", "replication")
        written, info = await pipe.execute(raise_on_error=False)
    if isinstance(written, RedisError):
        raise written
    return "" if isinstance(info, RedisError) else describe(info)


def describe(info: Mapping[str, Any]) -> str:
    """Product, version, role and the run_id that every start of a server has of its own, from its ``INFO``."""
    product = "Valkey" if "valkey_version" in info else "Redis"
    version = info.get("valkey_version") or info["redis_version"]
    return f"{product} {version}, {info['role']}, port {info['tcp_port']}, run {str(info['run_id'])[:8]}"
