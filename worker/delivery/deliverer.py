"""The deliveries of one worker process: which module is carried, how it ends, and what nobody carries."""

import asyncio
import contextlib
import random
from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import structlog

from contract.answer.report import Report
from contract.codes import Code
from contract.message import summary
from contract.redis.connection import RedisError
from contract.redis.jobs import JobStore
from contract.settings import Settings
from plumbing.failpoints import async_failpoint
from worker import metrics
from worker.catalogue.cmdb import CmdbRefused, CmdbUnavailable
from worker.custody.finish import publish, tell_end
from worker.custody.leases import Leases
from worker.custody.queue import WorkerQueue
from worker.delivery.bridge import Bridge
from worker.delivery.carrier import SAID, Carrier, Settling, change_of, end_of
from worker.postgres import deliveries
from worker.postgres.deliveries import Delivery, End
from worker.postgres.engine import driver_connection
from worker.postgres.errors import DatabaseError

if TYPE_CHECKING:
    from worker.postgres.engine import Engine

_log = structlog.get_logger(__name__)
_LONGEST_PAUSE_S: Final = 60.0
_LOOK_AGAIN_S: Final = 2.0
_MOST_STARTS: Final = 10
"""Of one delivery that never ended in order; more than a request's, for it may be begun beside others."""
_UNHEARD_S: Final = 15.0
"""A message that nobody has answered for so long may be lost; a second one does no harm."""


class Later(NamedTuple):
    """When to go on with what is left, and why; `has_failed`: CMDB was called and did not take it."""

    seconds: float = 1.0
    reason: str = ""
    has_failed: bool = True


class Deliverer:
    """Used from one event loop. Its `engine` is nobody else's: a module that is carried holds a connection."""

    def __init__(
        self, engine: "Engine", bridge: Bridge, leases: Leases, queue: WorkerQueue, settings: Settings
    ) -> None:
        self._engine = engine
        self._bridge = bridge
        self._leases = leases
        self._jobs = JobStore(leases)
        self._queue = queue
        self._settings = settings
        self._free = settings.deliveries_at_once
        self._waiting: dict[str, None] = {}
        self._carrying: set[asyncio.Task[Any] | None] = set()
        self._is_over = False

    async def announce(self, report: Report) -> None:
        """Ask some worker to hand on what a request has created."""
        line = summary(report.bk_biz_id, report.bk_module_id, report.statistics.total_count)
        await self._queue.deliver(report.request_id, line)

    async def sweep(self) -> int:
        """Send a message for what is due and was not carried; returns for how many modules."""
        async with driver_connection(self._engine) as driver:
            found = await deliveries.stale(driver, _UNHEARD_S)
        for request_id, biz, module, waiting in found:
            await self._queue.deliver(request_id, f"biz={biz} module={module} waiting={waiting}")
        return len(found)

    async def deliver(self, request_id: str) -> str:
        """Carry all that is due of a request's module; returns the line Flower shows.

        Raises:
            DatabaseError: PostgreSQL is away; what was begun is found again.
        """
        if self._is_over:
            return "left to others"
        self._waiting[request_id] = None
        if not self._free:
            return "waits"
        self._free -= 1
        carrying = asyncio.current_task()
        self._carrying.add(carrying)
        try:
            line = ""
            while self._waiting:  # what comes while all places are taken goes on here
                line = await self._deliver(self._waiting.popitem()[0])
            return line
        finally:
            self._free += 1
            self._carrying.discard(carrying)

    def break_off(self) -> None:
        """Leave to others what is under way, and begin nothing more: who stops waits for no answer of CMDB."""
        self._is_over = True
        for carrying in self._carrying:
            if carrying is not None:
                carrying.cancel()

    async def close(self) -> None:
        """Close its connections."""
        await self._engine.dispose()

    async def _deliver(self, request_id: str) -> str:
        async with driver_connection(self._engine) as driver:
            module = await deliveries.module_of(driver, request_id)
            if module is None:
                return "ended"
            count = 0
            # Who comes while the lock is held goes away: what he came for is looked for after it is given back.
            while await deliveries.due(driver, module):
                async with deliveries.module_lock(driver, module) as is_ours:
                    if not is_ours:
                        return "held"
                    count += await self._round(driver, module)
        return f"delivered={count}"

    async def _round(self, driver: Any, module: int) -> int:
        """Carry what is due, or a part of it; returns how many have ended."""
        found = await deliveries.due(driver, module)
        chosen = next_round(found)
        if not chosen:
            return 0
        await deliveries.begin(driver, chosen)
        try:
            await async_failpoint("before_delivery", chosen[0].request_id)
            carrier = Carrier(driver, self._bridge, chosen[0].bk_biz_id, module, self._settings)
            later = await self._carry(carrier, chosen)
            return await self._end(driver, chosen, carrier.refused, later)
        except (DatabaseError, RedisError, OSError, asyncio.CancelledError):
            # No fault of theirs. Where PostgreSQL is away still, they count as begun and not ended.
            with contextlib.suppress(DatabaseError):
                async with driver_connection(self._engine) as another:
                    await deliveries.put_off(another, chosen, _LOOK_AGAIN_S, has_failed=False)
            raise

    async def _carry(self, carrier: Carrier, chosen: Sequence[Delivery]) -> Later:
        """Carry them."""
        pending = [one for one in chosen if one.status == "PENDING"]
        tries = {id_: one.tries for one in sorted(pending, key=attrgetter("tries")) for id_ in one.instance_ids}
        if pending and pending[0].starts >= _MOST_STARTS:
            carrier.refused.update(dict.fromkeys(tries, CmdbRefused(Code.DEAD_LETTER.english, int(Code.DEAD_LETTER))))
            return Later()
        try:
            await carrier.carry(tries)
        except Settling:
            return Later(_LOOK_AGAIN_S, has_failed=False)
        except CmdbRefused as refused:
            carrier.refused.update(dict.fromkeys(tries, refused))
        except CmdbUnavailable as error:
            most = max(one.tries for one in chosen)
            _log.warning("not delivered", bk_module_id=chosen[0].bk_module_id, tries=most, reason=str(error))
            longest = min(2.0 ** min(most, 10), _LONGEST_PAUSE_S)  # tries go on for as long as CMDB is away
            pause_s = error.after_s or random.uniform(0.5, 1.0) * longest  # noqa: S311
            return Later(max(pause_s, 1.0), str(error)[:SAID])
        return Later()

    async def _end(self, driver: Any, chosen: Sequence[Delivery], refused: dict[int, CmdbRefused], later: Later) -> int:
        """End those of which CMDB has everything, or never will; the others are carried again."""
        ids = sorted({id_ for one in chosen for id_ in one.instance_ids})
        ours = {one.id: one for one in await deliveries.read_ours(driver, ids)}
        left = []
        for one in chosen:
            if one.status in ("DELIVERED", "FAILED"):
                await self._tell(driver, one, await deliveries.stored_report(driver, one.request_id))
                continue
            end = end_of(one, ours, refused)
            if end is None:
                left.append(one)
                continue
            mine = {id_: ours[id_] for id_ in one.instance_ids if id_ in ours}
            change = change_of(end, mine, await self._leases.now(), self._settings)
            report = await deliveries.end(driver, one, end, change)
            await self._tell(driver, one, report)
            _log_end(one, end)
            metrics.DELIVERIES.labels(end.status.lower()).inc()
            if report is not None and report.job is None and self._settings.answer_after == "delivery":
                tell_end(report)
        if left:
            metrics.DELIVERIES.labels("put off").inc(len(left))
            await deliveries.put_off(driver, left, later.seconds, later.reason, has_failed=later.has_failed)
        return len(chosen) - len(left)

    async def _tell(self, driver: Any, delivery: Delivery, report: Report | None) -> None:
        await async_failpoint("before_told", delivery.request_id)
        if report is not None:
            await publish(self._leases, report)
            await self._jobs.mark(report)
        await async_failpoint("after_told", delivery.request_id)
        await deliveries.told(driver, delivery.request_id)


def next_round(found: Sequence[Delivery]) -> Sequence[Delivery]:
    """What is carried next: all; of those that were begun and never ended, half as many each time.

    One of them may have killed its worker, and must take no others along.
    """
    starts = max((one.starts for one in found), default=0)
    return [one for one in found if one.starts == starts][: max(1, len(found) >> starts)]


def _log_end(delivery: Delivery, end: End) -> None:
    say = _log.info if end.status == "DELIVERED" else _log.error
    say("delivery ended", request_id=delivery.request_id, **end._asdict())
