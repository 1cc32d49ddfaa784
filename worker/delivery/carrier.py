"""Carry a module's deliveries to CMDB. Read `Carrier.carry` from top to bottom to follow them.

CMDB is looked at before each call that changes it, and called for nothing but what it lacks then. A call that is not
answered may have done all, half or nothing, or be at it still: nothing is called again in its module before what it was
for is there, or CMDB cannot be at it any more. So a delivery is made at least once, and its rows exist once.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import structlog

from contract.answer.report import Report, report_expires_at
from contract.answer.status import Problem
from contract.codes import Code
from contract.settings import Settings
from plumbing.failpoints import async_failpoint
from worker.catalogue.cmdb import CmdbRefused, CmdbUnavailable
from worker.delivery.bridge import Bridge, Unclear
from worker.expand.delivery import MOST_INSTANCES, Call, Ours, adopted, lacks, missing, pieces
from worker.postgres import deliveries
from worker.postgres.cmdb_rows import InstanceRows
from worker.postgres.deliveries import Delivery, End
from worker.postgres.engine import clock

_log = structlog.get_logger(__name__)
_QUICK_S: Final = 5.0
_SLOW_S: Final = 12.0
"""CMDB's servers wait for each other for 25 s."""
_NOT_SHOWN: Final = CmdbRefused("CMDB has taken it and does not show it")
_OF_TEMPLATE: Final = CmdbRefused(
    "only CMDB itself adds a process of a template that came later",
    1108035,
    "CMDB adds a process of a service template itself: synchronise the template there, then retry the delivery",
)
_GONE: Final = CmdbRefused("CMDB has removed it since", said="CMDB has removed it since: a new request creates it anew")
_AGAIN: Final = "again and again; CMDB's own log says why. Mend it there, then retry the delivery"
_DROPPED: Final = "given up by an operator"
_MOST_TRIES: Final = 10
"""After so many, an error that CMDB has no code for is taken for a no to the one instance that it was called for."""
SAID: Final = 500
"""So much of what CMDB says is kept."""


class Settling(Exception):
    """A call's end is not known, and CMDB may be at it still."""


class Carrier:
    """Of one module of a business, over a connection (`driver`) that holds its lock."""

    def __init__(self, driver: Any, bridge: Bridge, bk_biz_id: int, bk_module_id: int, settings: Settings) -> None:
        self._driver = driver
        self._bridge = bridge
        self._bk_biz_id = bk_biz_id
        self._bk_module_id = bk_module_id
        self._settle_s = settings.cmdb_settle_s
        self._rows = InstanceRows(first_id=settings.first_id, delivering=bk_module_id)
        self._size = MOST_INSTANCES
        """How many instances CMDB is called for at once."""
        self._seen_id = 0
        """The highest of CMDB's ids that the last look has shown."""
        self._tries: Mapping[int, int] = {}
        self.refused: dict[int, CmdbRefused] = {}
        """Why CMDB does not take an instance, by its id here."""

    async def carry(self, tries: Mapping[int, int]) -> None:
        """Bring instances to CMDB; those that it takes are linked, the others in `refused`.

        `tries` says how often it was tried to bring each of them.

        Raises:
            CmdbUnavailable: CMDB is away, busy, or has not answered a call.
            Settling: it has not answered one before.
            DatabaseError: PostgreSQL is away.
        """
        self._tries = tries
        call = await deliveries.open_call(self._driver, self._bk_module_id, MOST_INSTANCES)
        self._size = call.piece
        if call.age_s is not None:
            await self._settle(call, call.age_s)
        ours = await deliveries.read_ours(self._driver, list(tries))
        # What is gone was in no list of CMDB's, and may be there all the same.
        lacking = [one for one in ours if one.is_gone or lacks(one)]
        # What CMDB did not answer for goes last: it may never answer for it, and shall not keep others waiting.
        lacking.sort(key=lambda one: one.id in call.instance_ids)
        while lacking:
            piece = next(pieces(lacking, self._size))
            await self._bring_or_refuse(piece)
            lacking = lacking[len(piece) :]

    async def _bring_or_refuse(self, piece: Sequence[Ours]) -> None:
        """CMDB takes all or nothing of a call: where it takes nothing, find out which of them it means."""
        problem = await self._bring(piece)
        if problem is None:
            return
        if len(piece) == 1:
            self.refused[piece[0].id] = problem
            return
        middle = len(piece) // 2
        await self._bring_or_refuse(piece[:middle])
        await self._bring_or_refuse(piece[middle:])

    async def _settle(self, call: deliveries.OpenCall, age_s: float) -> None:
        """End a call whose end is not known, once what it was for is there or CMDB cannot be at it any more."""
        ours = await deliveries.read_ours(self._driver, list(call.instance_ids))
        try:
            found = await self._look(ours, call)
        except Unclear:
            found = ours
        if missing(found) and age_s < self._settle_s:
            raise Settling
        await deliveries.end_call(self._driver, self._bk_module_id)

    async def _bring(self, piece: Sequence[Ours]) -> CmdbRefused | None:
        """Call CMDB until it lacks nothing of a piece, never twice for the same; or why it lacks it still."""
        made: dict[object, CmdbRefused] = {}
        while True:
            try:
                found = await self._look(piece)
            except Unclear as unclear:
                return unclear
            calls = missing(found)
            if not calls:
                self.refused.update({one.id: _OF_TEMPLATE for one in found if lacks(one)})
                self.refused.update({one.id: _GONE for one in found if one.is_gone})
                return None
            if (problem := made.get(calls[0].place)) is not None:
                return problem
            made[calls[0].place] = _NOT_SHOWN
            try:
                await self._make(calls[0])
            except CmdbRefused as refused:  # that it is there already, perhaps: the next look tells
                made[calls[0].place] = refused

    async def _look(self, ours: Sequence[Ours], call: deliveries.OpenCall | None = None) -> list[Ours]:
        """Ask CMDB what it has of them, take that over, and read them again."""
        read_at = await clock(self._driver)
        found = await self._bridge.look(self._bk_biz_id, self._bk_module_id, [one.bk_host_id for one in ours])
        self._seen_id = max(found.ids, default=0)
        if call is not None:
            known = await deliveries.linked(self._driver, found.ids)
            free = [one for one in found.instances if one.id not in known]
            await deliveries.link(self._driver, adopted(ours, call.instance_ids, call.after_id, free))
        keys, mine = {one.key for one in ours}, [one.id for one in ours]
        ids = await deliveries.cmdb_ids(self._driver, mine)
        about = [one for one in found.instances if one.key in keys or one.id in ids]
        if about:
            for sync in await self._rows.sync(self._driver, about, read_at):
                for id_, cmdb_id, former_id in sync.returned:
                    _log.warning("CMDB has it again", id=id_, cmdb_id=cmdb_id, former_id=former_id)
            if strange := {one.id for one in about} - await deliveries.linked(self._driver, [one.id for one in about]):
                raise Unclear(f"service instance {min(strange)} of CMDB cannot be taken over")
        return await deliveries.read_ours(self._driver, mine)

    async def _make(self, call: Call) -> None:
        """Make a call, with its beginning and its end written down."""
        driver, module = self._driver, self._bk_module_id
        size = len(call.instance_ids)
        await deliveries.begin_call(driver, module, MOST_INSTANCES, call.instance_ids, self._seen_id)
        await async_failpoint("before_cmdb_call")
        began = time.monotonic()
        try:
            answer = await self._bridge.make(call)
        except CmdbRefused:
            await deliveries.end_call(driver, module)
            raise
        except CmdbUnavailable as error:
            if error.answer is not None and size == 1 and self._tries.get(call.instance_ids[0], 0) >= _MOST_TRIES:
                await deliveries.end_call(driver, module)
                raise CmdbRefused(str(error), error.answer.code, f"{error.answer.said} ({_AGAIN})") from None
            if error.is_undone:
                await deliveries.end_call(driver, module)
            else:
                await self._set_size(size // 2)
            raise
        await async_failpoint("after_cmdb_call")
        await deliveries.end_call(driver, module, _links(call, answer))
        await self._fit_size(size, time.monotonic() - began)
        await async_failpoint("after_cmdb_ids")

    async def _fit_size(self, size: int, seconds: float) -> None:
        """Learn from a call of this size. That a small one was quick says nothing of larger ones."""
        if seconds > _SLOW_S:
            await self._set_size(size // 2)
        elif seconds < _QUICK_S and 2 * size > self._size < MOST_INSTANCES:
            await self._set_size(min(2 * size, MOST_INSTANCES))

    async def _set_size(self, size: int) -> None:
        self._size = max(1, size)
        await deliveries.set_size(self._driver, self._bk_module_id, self._size)


def _links(call: Call, answer: Any) -> list[tuple[int, int]]:
    """CMDB's ids of what it has created come in the order of what it was asked for."""
    if call.api != "create_service_instance" or not isinstance(answer, list) or len(answer) != len(call.instance_ids):
        return []
    return [(mine, id_) for mine, id_ in zip(call.instance_ids, answer, strict=True) if type(id_) is int]


def end_of(delivery: Delivery, ours: Mapping[int, Ours], refused: Mapping[int, CmdbRefused]) -> End | None:
    """How a delivery ends; None while CMDB lacks something."""
    if delivery.status == "DROPPED":
        return End(delivery.status, 0, _DROPPED)
    reasons = [refused[id_] for id_ in delivery.instance_ids if id_ in refused]
    if reasons:
        return End("FAILED", reasons[0].code, reasons[0].said[:SAID])
    if any(lacks(ours[id_]) for id_ in delivery.instance_ids if id_ in ours):
        return None
    return End("DELIVERED")


def change_of(end: End, ours: Mapping[int, Ours], now: datetime, settings: Settings) -> Callable[[Report], Report]:
    """What becomes of the report of a request whose delivery ends so."""
    problem = None
    if end.status != "DELIVERED":
        problem = Problem(code=Code.NOT_DELIVERED, message_args=(end.code or "", end.message))
    instances = {one.id: one.cmdb_id for one in ours.values() if one.cmdb_id is not None}
    processes = {
        process.bk_process_id: process.cmdb_id
        for one in ours.values()
        for process in one.processes
        if process.cmdb_id is not None
    }
    expires_at = report_expires_at(now, settings)
    return lambda report: report.delivered(
        instances, processes, problem=problem, finished_at=now, expires_at=expires_at
    )
