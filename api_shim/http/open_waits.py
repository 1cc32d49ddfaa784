"""Requests that are kept waiting for an end: how many may be, and how all of them are let go at once."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import Receive

from api_shim.refusals import BrokerUnavailable
from api_shim.submitter import Submitter
from contract.answer.report import Report
from contract.settings import Settings


class OpenWaits:
    """The waits of this process, capped per application and in all.

    Past a cap, and while the process shuts down, a wait ends at once with what is known: the caller polls instead.
    """

    def __init__(self, submitter: Submitter, settings: Settings) -> None:
        self._submitter = submitter
        self._maximum, self._per_app = settings.max_open_waits, settings.max_open_waits_per_app
        self._of_app: Counter[str] = Counter()
        self._draining = False

    @property
    def is_draining(self) -> bool:
        """Whether the process shuts down."""
        return self._draining

    @property
    def count(self) -> int:
        """How many are open."""
        return self._of_app.total()

    def drain(self) -> None:
        """Let every open wait end now, and every later one at once."""
        self._draining = True
        self._submitter.waiters.release()

    @contextmanager
    def kept(self, bk_app_code: str, seconds: float, receive: Receive) -> Iterator[tuple[float, asyncio.Future[None]]]:
        """Inside the block one caller is kept waiting.

        Gives the seconds that are granted, all or none, and what is done once the caller has left. `receive` is ASGI's,
        of the caller's request, whose body has been read.
        """
        full = self.count >= self._maximum or self._of_app[bk_app_code] >= self._per_app
        left = asyncio.ensure_future(_until_left(receive))
        granted = 0.0 if full or self._draining else seconds
        self._of_app[bk_app_code] += granted > 0
        try:
            yield granted, left
        finally:
            left.cancel()
            self._of_app[bk_app_code] -= granted > 0
            if not self._of_app[bk_app_code]:
                del self._of_app[bk_app_code]

    async def until_final(self, request_id: str, bk_app_code: str, seconds: float, receive: Receive) -> Report | None:
        """The final report if the request ends within `seconds`, else the latest known one; None when unknown.

        Once `receive` tells that the caller has left, the wait is over, and its place is free for another.
        """
        if seconds <= 0:
            return await self._submitter.poll(request_id, bk_app_code)
        with self.kept(bk_app_code, seconds, receive) as (granted, left):
            return await self._submitter.wait(request_id, bk_app_code, granted, left)

    async def after_submit(self, request_id: str, bk_app_code: str, seconds: float, receive: Receive) -> Report | None:
        """Like `until_final` for a request that was just accepted.

        Redis failing now takes nothing back: None, which its caller reads as "still running".
        """
        if seconds <= 0:
            return None
        try:
            return await self.until_final(request_id, bk_app_code, seconds, receive)
        except BrokerUnavailable:
            return None


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
