"""Two things that redis-py's asynchronous connections lack: see `adapt`."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from redis.asyncio.connection import AbstractConnection
from redis.connection import HiredisRespSerializer
from redis.exceptions import ConnectionError as RedisConnectionError

if TYPE_CHECKING:
    import redis.asyncio as aioredis


_serializer: Final = HiredisRespSerializer()


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
