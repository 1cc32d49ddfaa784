"""What the ledger knows of a job: those of its batches that have ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncEngine

from contract.answer.items import Problem
from contract.answer.job import EndedBatch, Job, counts_of, problem_of, summed
from contract.answer.report import Report
from worker.postgres.engine import driver_connection

JOB_COLUMNS: Final[Mapping[str, str]] = {
    "job_id": "text",
    "job_number": "integer",
    "job_is_last": "boolean",
    "outcomes": "integer[]",
}
"""Columns of ``request_ledger`` and their types. All are null for a request that is no part of a job."""
_BATCHES: Final = """
SELECT request_id, job_number, job_is_last, outcomes, finished_at, created_at, bk_app_code, bk_biz_id, bk_module_id,
       report IS NULL AS is_purged
FROM request_ledger WHERE job_id = $1 ORDER BY job_number
"""
_FIRST_FAILURE: Final = """
SELECT report FROM request_ledger WHERE job_id = $1 AND code <> 0 AND report IS NOT NULL ORDER BY job_number LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class KnownJob:
    """A job as PostgreSQL has it. Once reports of it are purged (`is_purged`), its answers are gone."""

    job: Job
    batches: tuple[EndedBatch, ...]
    is_purged: bool


def job_values(report: Report) -> tuple[Any, ...]:
    """The values of `JOB_COLUMNS` for a request that ends with `report`."""
    part = report.job
    return (None,) * 4 if part is None else (part.job_id, part.number, part.is_last, list(counts_of(report)))


async def load_job(engine: AsyncEngine, job_id: str) -> KnownJob | None:
    """The job of this id; None when no batch of such a job has ended.

    Raises:
        DatabaseError: the database could not be read.
    """
    async with driver_connection(engine) as driver:
        rows = await driver.fetch(_BATCHES, job_id)
        failure = await driver.fetchval(_FIRST_FAILURE, job_id) if rows else None
    if not rows:
        return None
    batches = tuple(
        EndedBatch(row["request_id"], row["job_number"], row["job_is_last"], tuple(row["outcomes"]), row["finished_at"])
        for row in rows
    )
    problem = None if failure is None else problem_of(Report.load(failure))
    return KnownJob(_job(job_id, rows, batches, problem), batches, any(row["is_purged"] for row in rows))


def _job(job_id: str, rows: Any, batches: tuple[EndedBatch, ...], problem: Problem | None) -> Job:
    """Complete only when every batch up to the last is there: what is missing was lost, or never sent."""
    is_complete = batches[-1].is_last and len(batches) == batches[-1].number + 1
    outcomes = summed(batches)
    return Job(
        job_id=job_id,
        bk_app_code=rows[0]["bk_app_code"],
        bk_biz_id=rows[0]["bk_biz_id"],
        bk_module_id=rows[0]["bk_module_id"],
        created_at=min(row["created_at"] for row in rows),
        batches=len(batches),
        accepted=sum(outcomes.values()),
        ended=len(batches),
        size=len(batches) if is_complete else None,
        is_started=True,
        outcomes=outcomes,
        problem=problem,
        finished_at=max(batch.finished_at for batch in batches),
    )
