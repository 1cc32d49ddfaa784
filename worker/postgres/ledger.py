"""The ledger of ended requests: who inserts the row of a request first decides its outcome, for good.

Of a job it knows those of its batches that have ended.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncEngine

from contract.answer.job import EndedBatch, Job, problem_of, summed
from contract.answer.report import Report
from contract.answer.status import Problem, Status
from contract.codes import Code
from worker.postgres.engine import driver_connection, transaction
from worker.postgres.insert import JOB_COLUMNS, job_values

PURGE_BATCH: Final = 1_000
"""Reports that one statement drops: their rows are locked for some hundredths of a second."""
_COLUMNS: Final = "request_id, bk_app_code, status, report"
_LOAD: Final = f"SELECT {_COLUMNS} FROM request_ledger WHERE request_id = ANY ($1::text[])"  # noqa: S608 - our own names
_DECIDE: Final = f"""
INSERT INTO request_ledger
    (request_id, bk_app_code, bk_biz_id, bk_module_id, status, code, report, attempt, created_at,
     {", ".join(JOB_COLUMNS)})
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
ON CONFLICT DO NOTHING
RETURNING {_COLUMNS}
"""  # noqa: S608 - our own names
_REOPEN: Final = "DELETE FROM request_ledger WHERE request_id = $1 AND code = $2"
_PURGE: Final = """
WITH old AS (
    SELECT request_id FROM request_ledger WHERE report IS NOT NULL AND finished_at < now() - $1::interval
    ORDER BY finished_at LIMIT $2 FOR UPDATE SKIP LOCKED
), purged AS (
    UPDATE request_ledger SET report = NULL FROM old WHERE request_ledger.request_id = old.request_id RETURNING 1
)
SELECT count(*) FROM purged
"""
_BATCHES: Final = """
SELECT request_id, job_number, job_is_last, outcomes, finished_at, created_at, bk_app_code, bk_biz_id, bk_module_id,
       report IS NULL AS is_purged, coalesce(strpos(report, '"delivery":"FAILED"') > 0, false) AS is_refused
FROM request_ledger WHERE job_id = $1 ORDER BY job_number
"""
_FIRST_FAILURE: Final = """
SELECT report FROM request_ledger WHERE job_id = $1 AND code <> 0 AND report IS NOT NULL ORDER BY job_number LIMIT 1
"""


class _NotEntered(Exception):
    """Rolls a transaction back."""


class LedgerEntry(NamedTuple):
    """An ended request. `report` is None once it has been purged: the request is known, its answer is gone (410)."""

    request_id: str
    bk_app_code: str
    status: Status
    report: Report | None


async def load(engine: AsyncEngine, request_id: str) -> LedgerEntry | None:
    """The entry of an ended request; None when it has not ended, or never was.

    Raises:
        DatabaseError: the database could not be read.
    """
    async with driver_connection(engine) as driver:
        return (await load_all(driver, [request_id])).get(request_id)


async def load_all(driver: Any, request_ids: Collection[str]) -> Mapping[str, LedgerEntry]:
    """The entries of those requests that have ended, by request_id."""
    rows = await driver.fetch(_LOAD, request_ids)
    return {row["request_id"]: _entry(row) for row in rows}


async def decide(engine: AsyncEngine, report: Report) -> LedgerEntry:
    """End a request that writes no rows: a refusal, a cancellation, a deadline, a dead letter.

    Waits for a worker that is just committing the same request. Returns the entry that stands: this report's, or that
    of whoever was first.

    Raises:
        DatabaseError: the database could not be written; whether the entry stands is told by asking again.
    """
    async with driver_connection(engine) as driver:
        row = await driver.fetchrow(
            _DECIDE,
            report.request_id,
            report.bk_app_code,
            report.bk_biz_id,
            report.bk_module_id,
            report.status.value,
            report.code,
            report.dump().decode(),
            report.attempts,
            report.created_at,
            *job_values(report),
        )
        if row is None:
            (row,) = await driver.fetch(_LOAD, [report.request_id])
    return _entry(row)


async def reopen(engine: AsyncEngine, request_id: str, code: Code, enter: Callable[[], Awaitable[bool]]) -> bool:
    """Take back that a request ended with `code`, in one transaction around `enter`; returns what that returned.

    Nothing is taken back when it returns False or raises. Who ends the request meanwhile waits for this transaction.

    Raises:
        DatabaseError: the database could not be written.
    """
    try:
        async with driver_connection(engine) as driver, transaction(driver):
            await driver.execute(_REOPEN, request_id, int(code))
            if not await enter():
                raise _NotEntered  # noqa: TRY301 - it is there to leave the transaction
    except _NotEntered:
        return False
    return True


async def purge(engine: AsyncEngine, *, ledger_days: int) -> int:
    """Drop the reports of up to `PURGE_BATCH` requests that ended more than `ledger_days` ago; returns how many.

    What remains of them is a skeleton that says how they ended, so that a late poller is told "gone" and not "unknown",
    and a message that turns up again still finds its request decided. What somebody else is just purging is left out.

    Raises:
        DatabaseError: the database could not be written.
    """
    async with driver_connection(engine) as driver:
        purged = await driver.fetchval(_PURGE, timedelta(days=ledger_days), PURGE_BATCH)
    return int(purged)


def _entry(row: Any) -> LedgerEntry:
    request_id, bk_app_code, status, report = row
    return LedgerEntry(request_id, bk_app_code, Status(status), None if report is None else Report.load(report))


@dataclass(frozen=True, slots=True)
class KnownJob:
    """A job as PostgreSQL has it. Once reports of it are purged (`is_purged`), its answers are gone."""

    job: Job
    batches: tuple[EndedBatch, ...]
    is_purged: bool


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
        EndedBatch(
            *(row["request_id"], row["job_number"], row["job_is_last"]),
            *(tuple(row["outcomes"]), row["finished_at"], row["is_refused"]),
        )
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
