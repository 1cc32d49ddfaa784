"""What a Redis must be before a request is entrusted to it. Every process looks when it starts; `bksi doctor` any time.

A Redis that is away is no reason not to start: it is asked again by whoever diagnoses, and until it comes back nothing
is accepted anyway.
"""

import structlog
from redis.exceptions import RedisError

from contract.redis_connection import connect
from contract.settings import Settings
from contract.urls import has_credentials, is_local, without_secrets

NEEDED_POLICY = "noeviction"
_log = structlog.get_logger(__name__)


class UnsafeRedis(Exception):  # noqa: N818 - an error name says the fact
    """A process does not start on this Redis; the text says why and what to do. It holds no secret."""


async def require_safe_redis(settings: Settings) -> None:
    """Refuse a Redis that anybody may write to, or that throws away what it was given.

    Raises:
        UnsafeRedis: beyond this machine and without a password, unless ``allow_insecure``; or it evicts keys.
    """
    for url in settings.redis_servers:
        if not (settings.allow_insecure or is_local(url) or has_credentials(url)):
            raise UnsafeRedis(
                f"{without_secrets(url)} needs no password, so whoever reaches it can create and read anything. "
                "Set one (requirepass, or ACL users) and put it into the URL; BKSI_ALLOW_INSECURE=1 starts anyway."
            )
        policy = await eviction_policy(settings.model_copy(update={"redis_url": url}))
        if policy not in (None, NEEDED_POLICY):
            raise UnsafeRedis(
                f"{without_secrets(url)} has maxmemory-policy {policy}, which throws accepted requests away when "
                f"memory is short. Set it to {NEEDED_POLICY}."
            )


async def eviction_policy(settings: Settings) -> str | None:
    """The ``maxmemory-policy`` of `redis_url`; None when it is not to be had: Redis is away, or does not tell us."""
    client = connect(settings, connections=1)
    try:
        memory = await client.info("memory")
    except (RedisError, OSError) as error:
        _log.warning("eviction policy not checked", error=type(error).__name__)
        return None
    finally:
        await client.aclose()
    policy = memory.get("maxmemory_policy")
    return None if policy is None else str(policy)
