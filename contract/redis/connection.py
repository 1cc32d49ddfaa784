"""How both sides connect to Redis: bounded, impatient, and with two things that redis-py lacks (`adapt`)."""

from collections.abc import Iterable
from typing import Any, Final

import redis.asyncio as aioredis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.connection import HiredisRespSerializer
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from contract.settings import Settings

__all__ = ["RedisError", "adapt", "connect"]  # `RedisError`: so that other rooms can catch it without redis-py

_serializer: Final = HiredisRespSerializer()


def connect(settings: Settings, *, connections: int = 16) -> "aioredis.Redis":
    """A client with a bounded, blocking pool and short time-outs: a dead Redis is an error soon, never a hang."""
    pool = aioredis.BlockingConnectionPool.from_url(
        settings.redis_url,
        max_connections=connections,
        timeout=settings.redis_timeout_s,
        socket_timeout=settings.redis_timeout_s,
        socket_connect_timeout=settings.redis_timeout_s,
        socket_keepalive=True,
        health_check_interval=10,
        # redis-py repeats ten times by default. Once is enough to replace a connection that went stale in the pool.
        retry=Retry(NoBackoff(), 1),
    )
    adapt(pool)
    return aioredis.Redis.from_pool(pool)


def adapt(pool: "aioredis.ConnectionPool") -> None:
    """Have the connections of `pool` raise redis-py's `ConnectionError` where uvloop raises `RuntimeError`.

    Between a server's reset and redis-py's next look at the socket, a command goes to a transport that is closed.
    asyncio's own loop takes it, and reading the answer fails; uvloop refuses, in a way that nobody takes for an outage.

    And have hiredis write commands too, as redis-py does in its blocking connections alone: a script of many requests
    has hundreds of arguments.
    """
    pool.connection_class = type("Connection", (_Adapted, pool.connection_class), {})


class _Adapted(AbstractConnection):
    def pack_command(self, *args: Any) -> list[bytes]:
        packed: list[bytes] = _serializer.pack(*args)
        return packed

    async def send_packed_command(
        self,
        command: bytes | str | Iterable[bytes],
        check_health: bool = True,  # noqa: FBT001, FBT002 - redis-py's
    ) -> None:
        try:
            await super().send_packed_command(command, check_health)
        except RuntimeError as error:
            raise RedisConnectionError("the connection is closed") from error
