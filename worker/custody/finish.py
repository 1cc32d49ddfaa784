"""How a request ends: its report in PostgreSQL's ledger first, then in Redis, where the poller waits.

The ledger's row is the fence: whoever inserts it first decides the outcome, and everybody else publishes the winner's
report.
"""

from collections import Counter
from datetime import datetime

import structlog
from redis.exceptions import RedisError

from contract.answer.report import Report, report_expires_at
from contract.codes import Code, Refused
from contract.settings import Settings
from plumbing.failpoints import async_failpoint
from plumbing.retrying import retrying
from worker import metrics
from worker.custody.leases import Leases
from worker.postgres import ledger
from worker.postgres.engine import Engine
from worker.postgres.errors import DatabaseError

_log = structlog.get_logger(__name__)
_PUBLISH_FOR_S = 30.0


async def publish(leases: Leases, report: Report, dumped: bytes | None = None, token: str = "") -> None:
    """Store a final report in Redis; outlasts a Redis that is away for up to half a minute.

    `dumped` is ``report.dump()``, from who has it already; `token` is of the attempt that says so.

    Raises:
        redis.exceptions.RedisError: it stayed away. The ledger has the report, so the next delivery publishes it.
    """
    await async_failpoint("before_publish", report.request_id)
    await retrying(lambda: leases.publish(report, dumped, token), on=_is_away, for_s=_PUBLISH_FOR_S)
    await async_failpoint("after_publish", report.request_id)


def _is_away(error: Exception) -> bool:
    return isinstance(error, RedisError | OSError)


def tell_end(report: Report, leased_at: datetime | None = None) -> None:
    """One line for each request that ends: what became of it, and how long it took; and the same for the metrics.

    `leased_at` is when its last attempt began to work on it.
    """
    if report.finished_at is None:
        return
    outcomes = Counter([item["outcome"] for item in report.items])
    total = _between(report.created_at, report.finished_at)
    run = _between(leased_at or report.finished_at, report.finished_at)
    _log.info(
        "ended",
        request_id=report.request_id,
        bk_app_code=report.bk_app_code,
        bk_biz_id=report.bk_biz_id,
        bk_module_id=report.bk_module_id,
        status=report.status.value,
        code=int(report.code),
        instances=report.statistics.total_count,
        **{outcome.value: count for outcome, count in outcomes.items()},
        attempts=report.attempts,
        total_ms=round(total * 1000, 1),
        run_ms=round(run * 1000, 1),
    )
    metrics.request_ended(report, outcomes, total, None if leased_at is None else run)


def _between(first: datetime, last: datetime) -> float:
    """Seconds; none where another attempt had ended it before."""
    return max((last - first).total_seconds(), 0.0)


async def decide(engine: Engine, report: Report) -> Report:
    """Write how a request ends into the ledger, unless it has ended already; returns the report that stands.

    What PostgreSQL will never take (a NUL in a direct message's caller, for example) ends all the same: with `report`,
    for as long as Redis keeps it.

    Raises:
        DatabaseError: the ledger could not be written now.
    """
    try:
        entry = await ledger.decide(engine, report)
    except DatabaseError as error:
        if error.is_retryable or error.is_everybodys:
            raise
        _log.error("not in the ledger", request_id=report.request_id, code=report.code, error=str(error))
        return report
    return entry.report or report


async def finish(leases: Leases, engine: Engine, report: Report) -> Report:
    """End a request with `report`, unless it has ended already; returns the report that stands.

    Raises:
        DatabaseError: the ledger could not be written now.
    """
    standing = await decide(engine, report)
    await publish(leases, standing)
    tell_end(standing)
    return standing


async def finish_unfinished(leases: Leases, engine: Engine, request_id: str, code: Code) -> bool:
    """End a pending request that no live owner holds with `code`; False when the database is away or it just ended.

    One that was cancelled before any start, which only Redis knows so far, stays cancelled.
    """
    pending = await leases.load(request_id)
    if pending is None:
        return False
    report = pending if pending.status.is_final else given_up(pending, code, await leases.now(), leases.settings)
    try:
        await finish(leases, engine, report)
    except DatabaseError as error:
        _log.warning("not ended", request_id=request_id, code=report.code, error=str(error))
        return False
    _log.error("ended unfinished", request_id=request_id, code=report.code, attempts=pending.attempts)
    return True


def given_up(pending: Report, code: Code, now: datetime, settings: Settings) -> Report:
    """How a pending request ends for `code`, without anybody having looked at what it asks for."""
    expires_at = report_expires_at(now, settings)
    return pending.ended(Refused(code), finished_at=now, expires_at=expires_at)
