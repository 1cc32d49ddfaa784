"""What a restart of Redis, or a power loss, costs of what it has confirmed: its settings tell."""

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

import redis.asyncio as aioredis
from redis.exceptions import ResponseError

APPEND_ONLY: Final = "Set appendonly yes and appendfsync always, in the configuration file too."


class Durability(Enum):
    """What is lost."""

    NOTHING = "every write is on disk before it is answered"
    NOT_TOLD = "how often the append-only file is synced is not told"
    LAST_SECOND = "appendfsync is everysec: a power loss costs the last second's requests"
    HALF_A_MINUTE = "appendfsync is no: a power loss costs half a minute of requests"
    EVERYTHING = "appendonly is off: a restart loses every accepted request"

    @property
    def is_known_to_lose(self) -> bool:
        """Whether anything is."""
        return self not in (Durability.NOTHING, Durability.NOT_TOLD)


_BY_SETTING: Final = {
    "always": Durability.NOTHING,
    "everysec": Durability.LAST_SECOND,
    "no": Durability.HALF_A_MINUTE,
}


async def examine_durability(client: "aioredis.Redis", info: Mapping[str, Any] | None = None) -> Durability:
    """Ask the server of `client`. Not every user may ask, and not every server tells.

    Args:
        client: connected to it.
        info: its ``INFO``, from who has it already.
    """
    try:
        if info is None:
            info = await client.info()
        if "aof_enabled" not in info:
            return Durability.NOT_TOLD
        if not info["aof_enabled"]:
            return Durability.EVERYTHING
        told = await client.config_get("appendfsync")
    except ResponseError:
        return Durability.NOT_TOLD
    return _BY_SETTING.get(str(told.get("appendfsync")), Durability.NOT_TOLD)
