"""What this process lets its callers have of it: calls in a time, open waits, open uploads.

Counted in this process, not in Redis: the limits are there to keep one application from starving the others of this
very process, they must hold while Redis is away, and they must not cost a round trip. With n server processes an
application gets up to n times its rate; what protects the workers is the queue's own limit, which is exact.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Final, Literal

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from starlette.types import Receive

from api_shim.identity.doorkeeper import Identity
from api_shim.refusals import BrokerUnavailable, Busy, NotFound
from api_shim.submitter import Submitter
from contract.answer.report import Report
from contract.codes import Code, Refused
from contract.settings import Settings


class RateLimited(Refused):
    """Too many calls in the window. `retry_after` is in seconds, until one more is allowed."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(Code.RATE_LIMITED)
        self.retry_after = retry_after


FAILURES: Final = parse("30/minute")
"""How many calls of nobody that is known are let in from one address."""


class Rates:
    """The applications' rates; the anonymous caller, who is on this machine, has none. And that of who is not known."""

    def __init__(self) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    def spend(self, identity: Identity, purpose: Literal["submit", "poll"]) -> None:
        """Count one call; raises `RateLimited`."""
        application = identity.application
        if application is None:
            return
        rate = _parsed(application.rate if purpose == "submit" else application.poll_rate)
        self._hit(rate, purpose, identity.caller.bk_app_code)

    @contextmanager
    def counting_failures(self, address: Callable[[], str]) -> Iterator[None]:
        """Inside the block who calls is found out; one who is not known counts, by the address that he calls from.

        Raises:
            RateLimited: there were too many such calls from there.
        """
        try:
            yield
        except Refused as refused:
            if refused.code in (Code.APP_UNAUTHENTICATED, Code.GATEWAY_AUTH_FAILED):
                self._hit(FAILURES, "failed", address())
            raise

    def require_hope(self, address: str) -> None:
        """Raise `RateLimited` when one more failure from that address would be too many; counts nothing."""
        if not self._limiter.test(FAILURES, "failed", address):
            raise self._limited(FAILURES, "failed", address)

    def _hit(self, rate: RateLimitItem, purpose: str, name: str) -> None:
        if not self._limiter.hit(rate, purpose, name):
            raise self._limited(rate, purpose, name)

    def _limited(self, rate: RateLimitItem, purpose: str, name: str) -> RateLimited:
        resets_at = self._limiter.get_window_stats(rate, purpose, name).reset_time
        return RateLimited(max(resets_at - time.time(), 0))


@lru_cache(maxsize=1024)
def _parsed(rate: str) -> RateLimitItem:
    return parse(rate)


class OpenWaits:
    """Requests that are kept waiting for an end, capped per application and in all.

    Past a cap, and while the process shuts down, a wait ends at once with what is known: the caller polls instead.
    """

    def __init__(self, submitter: Submitter, settings: Settings) -> None:
        self._submitter = submitter
        self._maximum, self._per_app = settings.max_open_waits, settings.max_open_waits_per_app
        self._of_app: Counter[str] = Counter()

    @property
    def is_draining(self) -> bool:
        """Whether the process shuts down."""
        return self._submitter.waiters.is_released

    @property
    def count(self) -> int:
        """How many are open."""
        return self._of_app.total()

    def drain(self) -> None:
        """Let every open wait end now, and every later one at once."""
        self._submitter.waiters.release()

    @contextmanager
    def kept(self, bk_app_code: str, seconds: float, receive: Receive) -> Iterator[tuple[float, asyncio.Future[None]]]:
        """Inside the block one caller is kept waiting.

        Gives the seconds that are granted, all or none, and what is done once the caller has left. `receive` is ASGI's,
        of the caller's request, whose body has been read.
        """
        full = self.count >= self._maximum or self._of_app[bk_app_code] >= self._per_app
        left = asyncio.ensure_future(_until_left(receive))
        granted = 0.0 if full or self.is_draining else seconds
        self._of_app[bk_app_code] += granted > 0
        try:
            yield granted, left
        finally:
            left.cancel()
            self._of_app[bk_app_code] -= granted > 0
            if not self._of_app[bk_app_code]:
                del self._of_app[bk_app_code]

    async def until_final(self, request_id: str, bk_app_code: str, seconds: float, receive: Receive) -> Report:
        """The final report if the request ends within `seconds`, else the latest known one; raises as `Submitter.poll`.

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
        except (BrokerUnavailable, NotFound):
            return None


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


_RETRY_S: Final = 5.0


class OpenUploads:
    """Uploads of jobs that are under way.

    Each holds a connection, up to an instance's text and a batch for as long as its job is held back.
    """

    def __init__(self, most: int) -> None:
        self._most, self._open = most, 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Inside the block one more is under way.

        Raises:
            Busy: there is no room for it.
        """
        if self._open >= self._most:
            raise Busy(_RETRY_S)
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1
