"""What the benchmark's peers do with requests that come together: its claims rest on who shares what."""

import asyncio
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from benchmarks.peers.job import CONNECTIONS, GroupedJob, Job
from benchmarks.shapes import Shape, load_catalogue
from contract.request.parse import parse
from tests.integration.worker.postgres.plans import counts, fetch
from worker.postgres import catalogue_reads

pytestmark = pytest.mark.anyio
SHAPE, REQUESTS = Shape(1), 12


async def _transactions_and_reads(
    job: GroupedJob, engine: AsyncEngine, database: str, monkeypatch: pytest.MonkeyPatch
) -> tuple[int, list[int]]:
    """In how many transactions requests that all come at once are written, and how many each read is for."""
    await load_catalogue(database, [SHAPE], modules=REQUESTS)
    reads: list[int] = []
    real = catalogue_reads._fetch

    async def spied(driver: Any, wanted: Sequence[Any], known: Sequence[Any]) -> Sequence[Any]:
        reads.append(len(wanted))
        return await real(driver, wanted, known)

    monkeypatch.setattr(catalogue_reads, "_fetch", spied)
    batches = [parse(orjson.loads(SHAPE.body(number, REQUESTS))).batch for number in range(REQUESTS)]

    answers = await asyncio.gather(*(job.create(f"{number:032x}", batch) for number, batch in enumerate(batches)))

    assert all(orjson.loads(answer)["result"] is True for answer in answers)
    assert await counts(engine) == {
        "service_instance": REQUESTS,
        "process": 2 * REQUESTS,
        "process_bind_info": 4 * REQUESTS,
        "audit_log": REQUESTS,
        "request_ledger": REQUESTS,
    }
    transactions = await fetch(engine, "SELECT DISTINCT xmin::text FROM request_ledger")
    return len(transactions), reads


async def test_a_peer_shares_neither_transaction_nor_read(
    engine: AsyncEngine, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    transactions, reads = await _transactions_and_reads(Job(engine), engine, database, monkeypatch)

    assert transactions == REQUESTS
    assert set(reads) == {1}
    # Of the eight that this engine may open.
    assert engine.pool.checkedin() == CONNECTIONS


async def test_a_grouped_peer_shares_both_as_the_project_does(
    engine: AsyncEngine, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    transactions, reads = await _transactions_and_reads(GroupedJob(engine), engine, database, monkeypatch)

    assert transactions < REQUESTS
    assert max(reads) > 1
