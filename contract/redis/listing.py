"""An application's own requests, newest first, narrowed down where they stand.

Redis looks at the beginning of each report, where status, business and module are, so that those that do not match
never leave it. A few thousand at a time: a script holds everybody up for as long as it runs.
"""

from dataclasses import dataclass
from typing import Final

import redis.asyncio as aioredis

from contract.redis.records import Keys
from contract.redis.script import FOLLOWING, Script

_AT_A_TIME: Final = 2_000
LOOKED_AT: Final = 20_000
"""Requests that one call looks at, however few of them match."""
_UNFINISHED: Final = "unfinished"

_SIEVE: Final = Script(
    "contract/redis/sieve.lua",
    keys="of_app",
    args="after count most req_prefix result_prefix status biz module",
    parts=(FOLLOWING,),
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a list is narrowed down to. `is_unfinished`: PENDING or RUNNING, which only a loaded report tells apart."""

    status: str = ""
    is_unfinished: bool = False
    bk_biz_id: int | None = None
    bk_module_id: int | None = None

    def arguments(self) -> list[str]:
        """As the script takes them."""
        numbers = ("" if number is None else str(number) for number in (self.bk_biz_id, self.bk_module_id))
        return [_UNFINISHED if self.is_unfinished else self.status, *numbers]


class Listing:
    """Lists requests by their application."""

    def __init__(self, client: "aioredis.Redis", keys: Keys) -> None:
        self._keys = keys
        self._sieve = client.register_script(_SIEVE)

    async def page(
        self, bk_app_code: str, after: str | None, limit: int, wanted: Wanted
    ) -> tuple[list[str], str | None]:
        """At most `limit` that match, of those that follow on `after`, or of all. There may be fewer and yet more.

        Returns:
            Their ids, and after which request_id the next page goes on; None: there is none.
        """
        ids: list[str] = []
        looked_at, last = 0, after or ""
        while looked_at < LOOKED_AT:
            count, last_, *found = await self._sieve(
                keys=[self._keys.of_app(bk_app_code)],
                args=[
                    *(last, _AT_A_TIME, limit + 1 - len(ids)),
                    *(self._keys.request(""), self._keys.result("")),
                    *wanted.arguments(),
                ],
            )
            ids += [request_id.decode() for request_id in found]
            looked_at, last = looked_at + count, last_.decode() or last
            if len(ids) > limit:
                return ids[:limit], ids[limit - 1]
            if count < _AT_A_TIME:
                return ids, None
        return ids, last
