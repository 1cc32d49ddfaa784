"""Whether this process takes requests: not while PostgreSQL fails them all alike.

A missing right, a missing table, a full disk would fail every request, so none is to blame and no start of one counts.
The process takes nothing then, for a time that grows, and until a rehearsal goes well. Which requests meet such a fault
is remembered: one that meets it again, while others have been written, is to blame after all.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from plumbing.bounded import Recent

_log = structlog.get_logger(__name__)
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 10.0
_REMEMBERED: Final = 10_000


class Paused(Exception):
    """This process takes nothing while PostgreSQL fails every request."""


class Intake:
    """Of one worker process; used from its event loop, `reason` from anywhere.

    Args:
        rehearse: does what every request needs, and raises what a request would meet.
    """

    def __init__(self, rehearse: Callable[[], Awaitable[None]]) -> None:
        self.reason = ""
        """Why nothing is taken; empty while requests are."""
        self._rehearse = rehearse
        self._paused = asyncio.Event()
        self._rounds = self._written = 0
        self._met: Recent[str, int] = Recent(_REMEMBERED)

    def require_open(self) -> None:
        """Raises `Paused` while nothing is taken."""
        if self.reason:
            raise Paused

    def wrote(self) -> None:
        """A request was written, so what fails others is not everybody's fault."""
        self._written += 1
        self._rounds = 0

    def pause(self, error: Exception) -> None:
        """Take nothing until it is over."""
        if not self.reason:
            _log.error("takes no requests", reason=str(error))
        self.reason = str(error)
        self._paused.set()

    def is_to_blame(self, request_id: str, error: Exception) -> bool:
        """Pause for what would fail every request; whether it is this one's doing after all."""
        before = self._met.get(request_id)
        self._met.put(request_id, self._written)
        self.pause(error)
        return before is not None and self._written > before

    async def run(self) -> None:
        """End each pause, for ever."""
        while True:
            await self._paused.wait()
            looks = 1
            while not await self._is_over():
                looks += 1
            if looks > 1:
                self._rounds = 0  # a rehearsal does meet this fault, so it is over and not only out of sight
            self._paused.clear()
            self.reason = ""
            _log.warning("takes requests again")

    async def _is_over(self) -> bool:
        pause_s = min(_FIRST_PAUSE_S * 2**self._rounds, _LONGEST_PAUSE_S)
        self._rounds = min(self._rounds + 1, 10)
        await asyncio.sleep(random.uniform(0.5, 1.0) * pause_s)  # noqa: S311 - so that workers do not come back as one
        try:
            await self._rehearse()
        except Exception as error:  # noqa: BLE001 - whatever it is, a request would meet it
            if str(error) != self.reason:
                _log.error("still takes no requests", reason=str(error))
            self.reason = str(error) or type(error).__name__
            return False
        return True
