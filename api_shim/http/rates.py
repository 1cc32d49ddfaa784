"""How often an application may call.

Counted in this process, not in Redis: the limit is there to keep one application from starving the others of this very
process, it must hold while Redis is away, and it must not cost a round trip. With n server processes an application
gets up to n times its rate; what protects the workers is the queue's own limit, which is exact.
"""

import time
from functools import lru_cache
from typing import Final, Literal

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from api_shim.identity.doorkeeper import Identity
from contract.codes import Code, Refused


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
        if not self._limiter.hit(rate, purpose, identity.caller.bk_app_code):
            raise self._limited(rate, purpose, identity.caller.bk_app_code)

    def failed(self, address: str) -> None:
        """Count a call of who is not known; raises `RateLimited` when there were too many from that address."""
        if not self._limiter.hit(FAILURES, "failed", address):
            raise self._limited(FAILURES, "failed", address)

    def require_hope(self, address: str) -> None:
        """Raise `RateLimited` when one more failure from that address would be too many; counts nothing."""
        if not self._limiter.test(FAILURES, "failed", address):
            raise self._limited(FAILURES, "failed", address)

    def _limited(self, rate: RateLimitItem, purpose: str, name: str) -> RateLimited:
        resets_at = self._limiter.get_window_stats(rate, purpose, name).reset_time
        return RateLimited(max(resets_at - time.time(), 0))


@lru_cache(maxsize=1024)
def _parsed(rate: str) -> RateLimitItem:
    return parse(rate)
