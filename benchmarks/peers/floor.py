"""The floor: rows that are ready beforehand, no queue, no rules, no answer. BENCH_FLOOR says how: copy or insert.

One process with four connections, as fast as PostgreSQL takes them. What it does is in ``client CPU``.
"""

import os
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import orjson

from benchmarks.peers.job import CONNECTIONS, GroupedJob, open_job
from benchmarks.peers.rows import Ids, Rows, copy, insert
from contract.request.parse import parse


class Floor:
    """Inserts at once, on one of `CONNECTIONS` connections."""

    def __init__(self, job: GroupedJob, pool: "asyncpg.Pool[Any]") -> None:
        self._job = job
        self._pool = pool
        self._ids = Ids()
        self._copies = os.environ["BENCH_FLOOR"] == "copy"

    async def prepare(self, bodies: Sequence[bytes]) -> list[Any]:
        """Expand the requests, which is not measured."""
        prepared: list[Rows] = []
        for body in bodies:
            request_id = uuid.uuid4().hex
            plan = await self._job.plan(request_id, parse(orjson.loads(body)).batch)
            prepared.append(self._ids.rows(plan, request_id))
        return list(prepared) if self._copies else [rows.arguments() for rows in prepared]

    async def submit(self, body: Any) -> str:
        """Insert the rows of one request, in one transaction."""
        async with self._pool.acquire() as connection:
            await (copy if self._copies else insert)(connection, body)
        return ""

    async def wait(self, request_id: str) -> None:
        """It has ended already."""


@asynccontextmanager
async def client() -> AsyncIterator[Floor]:
    """Connect to what the environment names."""
    pool = asyncpg.create_pool(
        os.environ["BENCH_POSTGRES_DSN"],
        min_size=CONNECTIONS,
        max_size=CONNECTIONS,
        server_settings={"enable_seqscan": "off", "jit": "off"},
        reset=_nothing,
        max_cacheable_statement_size=0,
    )
    async with open_job() as job, pool:
        yield Floor(job, pool)


async def _nothing(_: Any) -> None:
    """Connections need no reset: nothing is ever set on one."""
