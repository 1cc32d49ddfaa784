"""How both sides connect to Redis: bounded, impatient, and with three things that redis-py lacks (`adapt`)."""

import time
import weakref
from collections.abc import Callable, Iterable
from typing import Any, Final

import redis.asyncio as aioredis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.connection import HiredisRespSerializer
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from contract.settings import Settings

__all__ = ["RedisError", "adapt", "connect"]  # `RedisError`: so that other rooms can catch it without redis-py

_serializer: Final = HiredisRespSerializer()


def connect(
    settings: Settings, *, connections: int = 16, told: Callable[[float], object] | None = None
) -> "aioredis.Redis":
    """A client with a bounded, blocking pool and short time-outs: a dead Redis is an error soon, never a hang.

    `told` is called with the seconds that each round trip took.
    """
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
    adapt(pool, told)
    return aioredis.Redis.from_pool(pool)


_ELSEWHERE: Final = frozenset(
    (
        *("READONLY", "LOADING", "MASTERDOWN", "NOMASTERLINK", "NOREPLICAS", "UNBLOCKED", "REDIRECT"),
        *("CLUSTERDOWN", "MOVED", "ASK", "TRYAGAIN", "NOPERM", "NOAUTH", "WRONGPASS"),
    )
)
"""Answers of a server that is not, or no more, the one to ask: a replica, one that starts, one whose users changed."""
_MAY_BE_KEPT: Final = frozenset(("NOPERM", "NOAUTH", "WRONGPASS"))
"""Of these, the ones that whoever asked wants to see as they are. They can also be said by the right server."""


class WrongServer(RedisConnectionError):
    """A server that was asked is not the one to ask. The connection is replaced, as after one that broke."""


def refusal_of(error: RedisError) -> str:
    """The word that Redis begins an error with, such as ``READONLY``."""
    return error.status_code or str(error).partition(" ")[0]


def is_elsewhere(error: RedisError) -> bool:
    """Whether `error` says that another server is the one to ask. A new connection may lead there, an old one does not.

    A name, a virtual address or a Kubernetes Service leads new connections to the new primary and leaves the old ones.
    """
    return refusal_of(error) in _ELSEWHERE


def adapt(pool: "aioredis.ConnectionPool", told: Callable[[float], object] | None = None) -> None:
    """Give the connections of `pool` what redis-py lacks.

    Between a server's reset and redis-py's next look at the socket, a command goes to a transport that is closed.
    uvloop refuses it by `RuntimeError`, which nobody takes for an outage. asyncio's own loop takes it, and on Python
    3.12 and 3.13 keeps the descriptor in its selector after it was closed: a new connection that gets the same number
    is then never told that it is there. So nothing is written to a closed transport; it is a `ConnectionError`.

    Redis-py keeps a connection whose server says that it is the wrong one (`is_elsewhere`), and so asks it for ever.
    Here every connection of the pool is replaced then, and the command is repeated once, as after a broken one.

    And hiredis writes commands too, as it does in redis-py's blocking connections alone: a script of many requests has
    hundreds of arguments.
    """
    pool.connection_class = type(
        "Connection",
        (_Adapted, pool.connection_class),
        {"pool": weakref.proxy(pool), "told": staticmethod(told or _nobody)},
    )


def _nobody(_: float) -> None:
    """Nobody wants to know."""


class _Adapted(AbstractConnection):
    pool: "aioredis.ConnectionPool"
    told: Callable[[float], object]
    _asked_at = 0.0

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        try:
            answer = await super().read_response(*args, **kwargs)
        except ResponseError as error:
            if not is_elsewhere(error):
                raise
            await self.pool.update_active_connections_for_reconnect()  # type: ignore[no-untyped-call]
            await self.pool.disconnect(inuse_connections=False)
            if refusal_of(error) in _MAY_BE_KEPT:
                raise
            raise WrongServer(f"{refusal_of(error)}: {error}") from error
        # What was sent together has many answers; the way there and back was over with the first.
        if self._asked_at:
            self.told(time.perf_counter() - self._asked_at)
            self._asked_at = 0.0
        return answer

    def pack_command(self, *args: Any) -> list[bytes]:
        packed: list[bytes] = _serializer.pack(*args)
        return packed

    async def send_packed_command(
        self,
        command: bytes | str | Iterable[bytes],
        check_health: bool = True,  # noqa: FBT001, FBT002 - redis-py's
    ) -> None:
        if self._writer is not None and self._writer.transport.is_closing():
            raise RedisConnectionError("the connection is closed")
        self._asked_at = time.perf_counter()
        await super().send_packed_command(command, check_health)
