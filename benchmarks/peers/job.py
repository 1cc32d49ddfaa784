"""What the worker of a peer does with a request: the project's own rules and the project's own insert.

So a peer differs from the project in what is compared: how a request gets to a worker and its answer back. Each request
has a transaction of its own, as a handler or a task has that knows of no other; ``BENCH_GROUPED=1`` gives peers the
project's group commit as well. ``BENCH_INSERT=lean`` has them insert without ledger and audit record, which spares them
a promise that ours keeps.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final

import orjson
from sqlalchemy.ext.asyncio import AsyncEngine

from benchmarks.peers.rows import Ids, insert
from benchmarks.shapes import BK_APP_CODE
from contract.answer.report import Report
from contract.message import Caller
from contract.request.batch import ServiceInstanceBatch
from plumbing.coalesce import Gather
from worker.expand.expand import expand
from worker.expand.plan import Plan
from worker.postgres.catalogue_reads import Catalogue
from worker.postgres.draft import WriteRequest
from worker.postgres.engine import create_engine, driver_connection
from worker.postgres.errors import DatabaseError
from worker.postgres.writer import Writer, Written

CONNECTIONS: Final = 4
"""To PostgreSQL, for each worker process: what the project's worker has by default."""
_CALLER: Final = Caller(bk_app_code=BK_APP_CODE, bk_username="benchmark")


@asynccontextmanager
async def open_job() -> AsyncIterator["GroupedJob"]:
    """The job that the environment asks for, connected to what it names; one per worker process."""
    engine = create_engine(os.environ["BENCH_POSTGRES_DSN"], connections=CONNECTIONS, application_name="benchmark peer")
    try:
        yield GroupedJob(engine) if os.environ.get("BENCH_GROUPED") else Job(engine)
    finally:
        await engine.dispose()


class GroupedJob:
    """With the project's group commit and grouped reads: what waits together shares a statement."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._catalogue = Catalogue(engine, check_ms=500)
        self._writer = Writer(engine)
        self._is_lean = os.environ.get("BENCH_INSERT") == "lean"
        # Of this process alone: a process id stays below 2**22.
        self._ids = Ids(first=os.getpid() << 40 | int(time.time()) % 2**10 << 30)

    async def plan(self, request_id: str, batch: ServiceInstanceBatch) -> Plan:
        """The rows that a batch asks for."""
        seen = await self._catalogue.slice(batch.bk_biz_id, batch.bk_module_id, batch.bk_host_ids)
        return expand(seen, batch, request_id)

    async def create(self, request_id: str, batch: ServiceInstanceBatch) -> bytes:
        """Create what a batch asks for; the answer as JSON."""
        plan = await self.plan(request_id, batch)
        if self._is_lean:
            rows = self._ids.rows(plan, request_id)
            async with driver_connection(self._engine) as driver:
                await insert(driver, rows.arguments())
            return _envelope(request_id, [row[0] for row in rows.instances])
        now = datetime.now(tz=UTC)
        written = await self._write(
            WriteRequest(
                request_id=request_id,
                plan=plan,
                caller=_CALLER,
                build_report=lambda items: Report.settled(
                    items,
                    request_id=request_id,
                    bk_app_code=BK_APP_CODE,
                    bk_biz_id=batch.bk_biz_id,
                    bk_module_id=batch.bk_module_id,
                    created_at=now,
                    finished_at=now,
                ),
            )
        )
        if written.report is None:
            raise RuntimeError("the report of this request was purged")
        return written.report.dump()

    async def _write(self, request: WriteRequest) -> Written:
        return await self._writer.write(request)


class Job(GroupedJob):
    """The same, by a request that knows of no other: its own reads, its own transaction, one of `CONNECTIONS`."""

    def __init__(self, engine: AsyncEngine) -> None:
        super().__init__(engine)
        self._catalogue = _PlainCatalogue(engine, check_ms=500)
        # As many requests as connections, so that none waits in SQLAlchemy's pool, where a wait costs a task and a
        # timer.
        self._connections = asyncio.Semaphore(CONNECTIONS)

    async def create(self, request_id: str, batch: ServiceInstanceBatch) -> bytes:
        """As `GroupedJob.create`, once a connection is free."""
        async with self._connections:
            return await super().create(request_id, batch)

    async def _write(self, request: WriteRequest) -> Written:
        (written,) = await self._writer.write_group([request])
        if isinstance(written, DatabaseError):
            raise written
        return written


class _PlainCatalogue(Catalogue):
    """The project's catalogue with its cache, in which each request reads for itself what the cache lacks."""

    def __init__(self, engine: AsyncEngine, *, check_ms: int) -> None:
        super().__init__(engine, check_ms=check_ms)
        self._reading = Gather(self._read_together, most=1, at_once=CONNECTIONS)


def _envelope(request_id: str, ids: list[int]) -> bytes:
    """The documented six keys."""
    return orjson.dumps(
        {"result": True, "code": 0, "message": "", "permission": None, "request_id": request_id, "data": ids}
    )
