"""Write what requests ask for: each request's rows, audit record and ledger entry in one transaction.

First everything is taken to be new, and one statement tries to write it. When that finds that something exists, what is
stored is read, only what is missing is written, and what is there stays as it is. A reader of natural keys needs no
lock, because rows are only ever added; whoever adds rows under an existing instance locks all that its requests name
and reads them again. Else it could find one as it was before another request and one as that request has left it.
Locks, ledger rows and instances are taken in sorted order and in this sequence, so no two workers wait for each other.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any, Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncEngine

from contract.answer.report import Report
from contract.answer.status import Item, without_new_ids
from plumbing import traces
from plumbing.coalesce import Gather
from plumbing.failpoints import async_failpoint
from plumbing.traces import Span
from worker.expand.reconcile import ExistingInstance
from worker.metrics import DECIDED_BEFORE, ROWS, WRITE_GROUP
from worker.postgres.columns import NewRows
from worker.postgres.draft import Draft, WriteRequest, draft
from worker.postgres.engine import driver_connection, transaction
from worker.postgres.errors import DatabaseError, TransactionConflict
from worker.postgres.existing import NaturalKey, lock_instances, read_existing
from worker.postgres.ids import IdBlock
from worker.postgres.insert import Ended, IdsTaken, insert
from worker.postgres.ledger import load_all
from worker.postgres.tables import process_ids, service_instance_ids

_GROUP: Final = 100
"""Service instances that are written together: as many small requests, or one full one."""
_MAX_LOOKS: Final = 20
"""Each look is lost to a transaction that committed in between; so many in a row are somebody's endless loop."""
_AT_ONCE: Final = 2
"""Transactions of one process."""


class Written(NamedTuple):
    """How a request ended.

    `report` is None only for a request that ended so long ago that its report was purged. `is_first`: this call decided
    the outcome; otherwise an earlier one had, and nothing was written. `rows` counts instances, processes and bind rows
    that were inserted. `dumped` is ``report.dump()`` where it had to be made.
    """

    report: Report | None
    is_first: bool
    rows: int = 0
    dumped: bytes | None = None


_Spent = tuple[Sequence[int], Sequence[int]]
"""Ids of instances and of processes that a transaction gives away."""


class Writer:
    """Writes requests. One per process, for it holds the process's ids; used from one event loop."""

    def __init__(self, engine: AsyncEngine, *, first_id: int = 1) -> None:
        self._engine = engine
        self._instance_ids = IdBlock(service_instance_ids, first_id)
        self._process_ids = IdBlock(process_ids, first_id)
        self._writing = Gather(self._write_traced, most=_GROUP, at_once=_AT_ONCE, weigh=_instances)

    async def write(self, request: WriteRequest) -> Written:
        """Write one request, or find out how it ended before; those that come meanwhile share the next transaction.

        Instances that exist under ``on_existing="fail"`` get failed items with 1113016; in mode "atomic" the others are
        then skipped and no row is written but the ledger's.

        Raises:
            DatabaseError: nothing was written; or, after `DatabaseUnavailable`, perhaps all of it. Call again.
        """
        with traces.span("write") as span:
            return await self._writing((request, span))

    async def drain(self) -> None:
        """Wait until nothing is being written."""
        await self._writing.drain()

    def drop_ids(self) -> None:
        """Reserve new ids for what is written from now on."""
        self._instance_ids.drop()
        self._process_ids.drop()

    async def preview(self, request: WriteRequest) -> list[Item]:
        """What `write` would make of each of the plan's instances; reads only. What does not exist has no id.

        Raises:
            DatabaseError: the database could not be read.
        """
        async with driver_connection(self._engine) as driver:
            known = await read_existing(driver, request.natural_keys())
        return [without_new_ids(item) for item in draft(request, known, count(), count(), NewRows()).items]

    async def _write_traced(self, calls: Sequence[tuple[WriteRequest, Span]]) -> list[Written | DatabaseError]:
        with traces.span("write together", links=[span for _, span in calls]) as together:
            together.set(requests=len(calls))
            return await self.write_group([request for request, _ in calls])

    async def write_group(self, requests: Sequence[WriteRequest]) -> list[Written | DatabaseError]:
        """Write several requests in as few transactions as they allow, usually one.

        One that breaks a constraint does not harm the others: they are then written one by one.
        """
        WRITE_GROUP.observe(len(requests))
        done: dict[int, Written | DatabaseError] = {}
        waiting = dict(enumerate(requests))
        try:
            async with driver_connection(self._engine) as driver:
                while waiting:
                    now = dict(_disjoint(waiting))
                    written = await self._write_disjoint(driver, list(now.values()))
                    for position, request in now.items():
                        done[position] = written[request.request_id]
                        del waiting[position]
        except DatabaseError as error:
            # An internal error may have been met on the rows of one of them.
            alone = len(waiting) > 1 and (not error.is_everybodys or error.sqlstate.startswith("XX"))
            for position, request in waiting.items():
                done[position] = (await self.write_group([request]))[0] if alone else error
        return [done[position] for position in range(len(requests))]

    async def _write_disjoint(self, driver: Any, requests: Sequence[WriteRequest]) -> dict[str, Written]:
        done: dict[str, Written] = {}
        known: Mapping[NaturalKey, ExistingInstance] = {}
        unwritten = list(requests)
        for _ in range(_MAX_LOOKS):
            try:
                written = await self._try(driver, unwritten, known)
            except IdsTaken:
                self.drop_ids()
                continue
            if written is not None:
                return done | written
            ended = await load_all(driver, [request.request_id for request in unwritten])
            done |= {id_: Written(entry.report, is_first=False) for id_, entry in ended.items()}
            DECIDED_BEFORE.inc(len(ended))
            unwritten = [request for request in unwritten if request.request_id not in ended]
            if not unwritten:
                return done
            known = await read_existing(driver, {key for request in unwritten for key in request.natural_keys()})
        raise TransactionConflict

    async def _try(
        self, driver: Any, requests: Sequence[WriteRequest], known: Mapping[NaturalKey, ExistingInstance]
    ) -> dict[str, Written] | None:
        """Write in one transaction; None when something has changed since it was looked at."""
        drafts, rows, spent = await self._draft(driver, requests, known)
        if not any(draft.healed for draft in drafts):
            return await self._insert(driver, drafts, rows, spent)
        self._give_back(spent)
        async with transaction(driver):
            await lock_instances(driver, [existing.service_instance_id for existing in known.values()])
            known = await read_existing(driver, known)
            written = await self._insert(driver, *await self._draft(driver, requests, known))
            await async_failpoint("before_commit", requests[0].request_id)
            return written

    async def _draft(
        self, driver: Any, requests: Sequence[WriteRequest], known: Mapping[NaturalKey, ExistingInstance]
    ) -> tuple[list[Draft], NewRows, _Spent]:
        instances = await self._instance_ids.take(driver, sum(len(request.plan.instances) for request in requests))
        processes = await self._process_ids.take(driver, sum(request.process_count() for request in requests))
        instance_ids, process_ids = iter(instances), iter(processes)
        rows = NewRows()
        drafts = [draft(request, known, instance_ids, process_ids, rows) for request in requests]
        spent = _used(self._instance_ids, instances, instance_ids), _used(self._process_ids, processes, process_ids)
        return drafts, rows, spent

    async def _insert(
        self, driver: Any, drafts: Sequence[Draft], rows: NewRows, spent: _Spent
    ) -> dict[str, Written] | None:
        ended = [_ended(draft) for draft in drafts]
        if not await insert(driver, rows, ended):
            self._give_back(spent)
            return None
        ROWS.inc(sum(draft.row_count for draft in drafts))
        return {
            draft.request.request_id: Written(report, is_first=True, rows=draft.row_count, dumped=dumped)
            for draft, report, dumped in ended
        }

    def _give_back(self, spent: _Spent) -> None:
        """Nothing was written under these ids, so they are free again."""
        self._instance_ids.give_back(spent[0])
        self._process_ids.give_back(spent[1])


def _ended(draft: Draft) -> Ended:
    report = draft.request.build_report(draft.items)
    return draft, report, report.dump()


def _instances(call: tuple[WriteRequest, Span]) -> int:
    return len(call[0].plan.instances)


def _used(block: IdBlock, taken: Sequence[int], left: Iterator[int]) -> Sequence[int]:
    """Give back what is left of `taken`; returns the others."""
    spare = list(left)
    if spare:  # seldom, and the block is sorted each time
        block.give_back(spare)
    return taken[: len(taken) - len(spare)]


def _disjoint(waiting: Mapping[int, WriteRequest]) -> Mapping[int, WriteRequest]:
    """The requests that have no row in common, each with the first of those that have."""
    if len(waiting) == 1:
        return waiting
    taken: set[object] = set()
    chosen = {}
    for position, request in waiting.items():
        wanted: set[object] = {request.request_id, *request.natural_keys()}
        if taken.isdisjoint(wanted):
            chosen[position] = request
        taken |= wanted
    return chosen
