"""Sends again what is pending and has no owner, ends what is past its deadline, and drops reports that are too old.

One runs in every worker process, so a reaper lives exactly where somebody could do the work; several at once are
harmless, because each push is one script that first looks whether another was first.

A reaper that only looked at age would double a backlog every time it swept. This one asks the queue what has certainly
been taken from it (`worker.custody.queue`): only such a request, whose lease has run out, is sent again.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import structlog
from redis.exceptions import RedisError

from contract.codes import Code
from contract.settings import Settings
from plumbing.failpoints import async_failpoint
from worker.custody.finish import finish_unfinished
from worker.custody.leases import Leases, Pending
from worker.custody.queue import WorkerQueue
from worker.metrics import REAPED, RESENT, SWEPT
from worker.postgres import ledger
from worker.postgres.errors import DatabaseError

if TYPE_CHECKING:
    from worker.postgres.engine import Engine

_log = structlog.get_logger(__name__)
_PAGE: Final = 100
_PURGE_EVERY_S: Final = 3600.0


class Reaper:
    """The sweep of one worker process."""

    def __init__(
        self,
        leases: Leases,
        engine: "Engine",
        queue: WorkerQueue,
        settings: Settings,
        *further: Callable[[], Awaitable[object]],
    ) -> None:
        self._leases = leases
        self._engine = engine
        self._queue = queue
        self._settings = settings
        self._duties = (self.sweep, self.purge, *further)
        self._purges_at = 0.0

    async def run(self) -> None:
        """Sweep and purge for ever, every ``reaper_interval_s``."""
        while True:
            await asyncio.sleep(self._settings.reaper_interval_s)
            for duty in self._duties:
                try:
                    await duty()
                except (RedisError, DatabaseError, OSError) as error:
                    # That a server is away is said once, by who keeps the leases or connects.
                    _log.debug(f"{duty.__name__} skipped", error=type(error).__name__)
                except Exception as error:  # noqa: BLE001 - one odd entry must not leave all others without a reaper
                    _log.error(f"{duty.__name__} failed", error=type(error).__name__)

    async def sweep(self) -> int:
        """One pass; returns how many requests were sent again or ended."""
        if calmed := await self._leases.calm():
            _log.warning("times were ahead of Redis' clock", requests=calmed)
        now = await self._leases.now_ms()
        grace = now - self._settings.owner_ttl_ms
        taken_before = min(grace, await self._queue.taken_before(now))
        moved, stayed = 0, 0
        # In order of the last push. What is moved leaves the range, the others stay in front.
        while page := await self._leases.pending_before(grace, stayed, _PAGE):
            gone = sum([await self._look_at(pending, now, taken_before) for pending in page])
            moved, stayed = moved + gone, stayed + len(page) - gone
            if page[-1].pushed_ms >= taken_before and not gone:
                break  # all further ones wait in the queue, and have more time left than these
        SWEPT.set_to_current_time()
        return moved

    async def purge(self) -> int:
        """Drop one batch of the reports that PostgreSQL has kept for ``ledger_days``; returns how many.

        One batch between two sweeps, so that neither waits for the other; when none is left, not again for an hour.
        """
        if time.monotonic() < self._purges_at:
            return 0
        purged = await ledger.purge(self._engine, ledger_days=self._settings.ledger_days)
        if purged:
            _log.info("reports purged", count=purged)
        if purged < ledger.PURGE_BATCH:
            self._purges_at = time.monotonic() + _PURGE_EVERY_S
        return purged

    async def _look_at(self, pending: Pending, now: int, taken_before: int) -> bool:
        """Send one again, or end it; whether that was done."""
        if pending.owner and pending.lease_ms > now:
            if pending.lease_ms > now + self._leases.longest_lease_ms:
                await self._leases.shorten(pending.request_id)
            return False
        if not pending.deadline_ms:
            # Its entry is gone, which no script of ours does. The one that pushes again clears this up, too.
            return await self._leases.resend(pending, b"")
        if pending.deadline_ms <= now:
            ended = await finish_unfinished(self._leases, self._engine, pending.request_id, Code.DEADLINE_EXCEEDED)
            REAPED.inc(ended)
            return ended
        if pending.pushed_ms >= taken_before:
            return False
        await async_failpoint("before_resend", pending.request_id)
        sent = await self._queue.resend(pending)
        RESENT.inc(sent)
        if sent:
            _log.warning("sent again", request_id=pending.request_id, attempts=pending.attempts)
        await async_failpoint("after_resend", pending.request_id)
        return sent
