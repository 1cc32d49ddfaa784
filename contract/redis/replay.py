"""Whether a Redis gives back after a restart what it was given, as far as its users decide that.

While a server replays its append-only file, it runs each MULTI/EXEC in it, and so every script that writes twice, as
the user ``default``. What that user may not do is dropped, with nothing but a line in the server's log (issue 3983 of
Valkey, issue 14541 of Redis). So ``user default off``, which is how strangers are kept out, costs every accepted
request at the next restart, unless the user is given its rights: nobody can be it, but the replay.
"""

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any, Final

import redis.asyncio as aioredis
from redis.exceptions import NoPermissionError, ResponseError

from contract.message import QUEUE_NAME
from contract.redis.records import Keys
from contract.settings import Settings

DEFAULT_USER: Final = 'user default off "~*" "&*" +@all'
"""How the user ``default`` stands where a server's users are configured: nobody is let in, and nothing is dropped."""
MEND: Final = (
    f"Leave it off, which lets nobody in, and give it its rights: `{DEFAULT_USER}` where the server's users are "
    "configured, and `ACL SETUSER default ~* &* +@all` now. Valkey 9.1.2 and newer lose nothing in any case."
)
_MENDED: Final = (9, 1, 2)
"""The first Valkey that replays as nobody. No release of Redis is known to."""


class Replay(Enum):
    """What a restart makes of what scripts and transactions wrote."""

    KEEPS = "keeps"
    LOSES = "loses"
    NOT_TOLD = "not told"
    """Our user may not run ``ACL DRYRUN``, and the server is one that loses what its default user may not do."""


async def examine_replay(client: "aioredis.Redis", settings: Settings, info: Mapping[str, Any]) -> Replay:
    """Ask the server of `client`, whose ``INFO`` is `info`, without writing anything."""
    if not info.get("aof_enabled") or _is_mended(info):
        return Replay.KEEPS
    try:
        for command in written_by_scripts(settings.key_prefix):
            if await client.acl_dryrun("default", *command) not in (b"OK", "OK"):
                return Replay.LOSES
    except (NoPermissionError, ResponseError):
        return Replay.NOT_TOLD
    return Replay.KEEPS


def _is_mended(info: Mapping[str, Any]) -> bool:
    version = str(info.get("valkey_version", "0"))
    return tuple(int(part) for part in version.split(".") if part.isdecimal()) >= _MENDED


def written_by_scripts(prefix: str) -> Iterator[tuple[str, ...]]:
    """One example of each command that our scripts and transactions leave in an append-only file."""
    keys = Keys(prefix)
    entry, report, held = keys.request("x"), keys.result("x"), keys.unacked("x")
    yield from (
        ("SELECT", "0"),
        *(("HSET", entry, "field", "x"), ("HDEL", held, "field"), ("HINCRBY", entry, "attempts", "-1")),
        *(("HSETNX", held, "field", "x"), ("SET", report, "x"), ("PEXPIRE", keys.of_app("x"), "1")),
        *(("INCRBY", keys.finished_count, "1"), ("INCR", keys.failed_takes("x")), ("EXPIRE", report, "1")),
        *(("DEL", entry), ("ZADD", keys.pending, "1", "x"), ("ZREM", keys.pending, "x")),
        ("RENAME", keys.misfit("x"), keys.misfit("y")),
        ("ZREMRANGEBYSCORE", keys.workers, "-inf", "0"),
        *(("LPUSH", QUEUE_NAME, "x"), ("RPUSH", QUEUE_NAME, "x"), ("LTRIM", QUEUE_NAME, "0", "-2")),
        ("LSET", keys.parked, "-1", "x"),
        *(("LREM", keys.dead_letters, "1", "x"), ("LMOVE", keys.inbox("x"), QUEUE_NAME, "LEFT", "RIGHT")),
    )
