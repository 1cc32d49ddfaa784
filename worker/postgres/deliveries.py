"""The outbox: requests whose rows CMDB is to have. Rows of `delivery` are added by the statement that writes a request.

Who carries a module's deliveries holds a lock of PostgreSQL's for it, which ends with its connection: a process that is
killed lets go at once, one that is frozen or cannot be heard after two minutes. Before each call that changes CMDB, it
is written down for whom the call is (`delivery_call`), and after it that the call has ended. So whoever comes next
knows of a call whose end nobody has heard of, and waits until CMDB cannot be at it any more.
"""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from contract.answer.report import Report
from worker.expand.delivery import Ours
from worker.expand.sync import StoredProcess
from worker.postgres.cmdb_rows import stored_processes
from worker.postgres.engine import Engine, driver_connection, transaction

_LOCK: Final = """
SELECT set_config('idle_session_timeout', $2, false)
FROM pg_try_advisory_lock(hashtextextended('bksi delivery ' || $1::bigint, 0)) AS is_ours WHERE is_ours
"""
_UNLOCK: Final = """
SELECT pg_advisory_unlock(hashtextextended('bksi delivery ' || $1::bigint, 0)),
       set_config('idle_session_timeout', '0', false)
"""
_SILENT_MS: Final = 120_000
"""Longer than a carrier asks CMDB for one thing, between two statements."""
_MODULE: Final = "SELECT bk_module_id FROM delivery WHERE request_id = $1"
_DUE: Final = """
SELECT request_id, bk_biz_id, bk_module_id, instance_ids, status, code, message, starts, tries FROM delivery
WHERE bk_module_id = $1 AND due_at <= now() AND NOT is_told ORDER BY created_at, request_id LIMIT 100
"""
_BEGIN: Final = "UPDATE delivery SET starts = starts + 1 WHERE request_id = ANY ($1::text[])"
_PUT_OFF: Final = """
UPDATE delivery SET starts = 0, tries = CASE WHEN $4 THEN tries + 1 ELSE tries END,
    message = coalesce(nullif($3, ''), message), due_at = now() + make_interval(secs => $2)
WHERE request_id = ANY ($1::text[])
"""
_ONE_SWEEPS: Final = "SELECT pg_try_advisory_xact_lock(hashtextextended('bksi deliveries', 0))"
_STALE: Final = """
WITH stale AS (
    SELECT bk_module_id, min(bk_biz_id) AS bk_biz_id, min(request_id) AS request_id, count(*) AS waiting FROM delivery
    WHERE due_at <= now() AND NOT is_told GROUP BY bk_module_id
    HAVING min(sent_at) < now() - make_interval(secs => $1) OR max(due_at) > max(sent_at) LIMIT 100
), sent AS (
    UPDATE delivery SET sent_at = now() FROM stale
    WHERE delivery.bk_module_id = stale.bk_module_id AND due_at <= now() AND NOT is_told RETURNING 1
)
SELECT request_id, bk_biz_id, bk_module_id, waiting FROM stale
"""
_OPEN_CALL: Final = """
SELECT piece, instance_ids, after_id, extract(epoch FROM now() - called_at)::float8 AS age_s FROM delivery_call
WHERE bk_module_id = $1
"""
_CALL: Final = """
INSERT INTO delivery_call (bk_module_id, piece, called_at, instance_ids, after_id) VALUES ($1, $2, now(), $3, $4)
ON CONFLICT (bk_module_id) DO UPDATE
SET called_at = now(), instance_ids = excluded.instance_ids, after_id = excluded.after_id
"""
_END_CALL: Final = "UPDATE delivery_call SET called_at = NULL, instance_ids = '{}' WHERE bk_module_id = $1"
_SIZE: Final = "UPDATE delivery_call SET piece = greatest(1, $2) WHERE bk_module_id = $1"
_LINK: Final = """
INSERT INTO cmdb_instance (service_instance_id, cmdb_id) SELECT * FROM unnest($1::bigint[], $2::bigint[])
ON CONFLICT DO NOTHING
"""
_LINKED: Final = "SELECT cmdb_id FROM cmdb_instance WHERE cmdb_id = ANY ($1::bigint[])"
_CMDB_IDS: Final = "SELECT cmdb_id FROM cmdb_instance WHERE service_instance_id = ANY ($1::bigint[])"
_OURS: Final = """
SELECT s.id, s.bk_biz_id, s.bk_module_id, s.bk_host_id, s.service_template_id, s.instance_key, s.name, l.cmdb_id,
       l.gone_at IS NOT NULL AS is_gone
FROM service_instance s LEFT JOIN cmdb_instance l ON l.service_instance_id = s.id
WHERE s.id = ANY ($1::bigint[]) ORDER BY s.bk_host_id, s.id
"""
_REPORT: Final = "SELECT report FROM request_ledger WHERE request_id = $1 FOR UPDATE"
_SET_REPORT: Final = "UPDATE request_ledger SET status = $2, code = $3, report = $4 WHERE request_id = $1"
# What an operator has given up, or wants tried again (then it has no start), since this one began, only success ends.
_END: Final = """
UPDATE delivery SET status = $2, code = $3, message = $4, starts = 0
WHERE request_id = $1 AND (status = 'PENDING' AND starts > 0 OR $2 = 'DELIVERED')
"""
_RECONSIDER: Final = """
UPDATE delivery SET status = 'PENDING', starts = 0, tries = 0, due_at = now(), is_told = false
FROM (SELECT bk_module_id, instance_ids FROM delivery WHERE request_id = $1) AS one
WHERE delivery.bk_module_id = one.bk_module_id AND status = 'FAILED' AND delivery.instance_ids && one.instance_ids
"""
_FORGET: Final = "DELETE FROM delivery WHERE request_id = $1 AND status IN ('DELIVERED', 'DROPPED')"
_TOLD: Final = "UPDATE delivery SET is_told = true WHERE request_id = $1 AND status = 'FAILED'"
_LIST: Final = """
SELECT request_id, bk_biz_id, bk_module_id, cardinality(instance_ids) AS instances, status, code, message, tries,
       created_at, due_at
FROM delivery WHERE $1 IN ('', status) ORDER BY created_at, request_id LIMIT $2
"""
_RETRY: Final = """
UPDATE delivery SET status = 'PENDING', code = 0, message = '', starts = 0, tries = 0, due_at = now(), is_told = false,
    sent_at = '-infinity'
WHERE request_id = $1 AND status IN ('PENDING', 'FAILED') RETURNING 1
"""
_DROP: Final = """
UPDATE delivery SET status = 'DROPPED', due_at = now(), is_told = false, sent_at = '-infinity'
WHERE request_id = $1 AND status IN ('PENDING', 'FAILED') RETURNING 1
"""
_BACKLOG: Final = """
SELECT count(*) FILTER (WHERE status = 'PENDING') AS pending, count(*) FILTER (WHERE status = 'FAILED') AS failed,
       coalesce(extract(epoch FROM now() - min(created_at) FILTER (WHERE status = 'PENDING')), 0)::float8 AS oldest_s
FROM delivery
"""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one request has CMDB know."""

    request_id: str
    bk_biz_id: int
    bk_module_id: int
    instance_ids: Sequence[int]
    status: str
    code: int
    message: str
    starts: int
    tries: int


class End(NamedTuple):
    """How a delivery ends; `code` and `message` are CMDB's."""

    status: str
    code: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class OpenCall:
    """How much CMDB takes at once in a module, and the call to it whose end is not known; `age_s` None = there is none.

    `after_id` is the highest of CMDB's ids that was seen before it.
    """

    piece: int
    instance_ids: Collection[int] = ()
    after_id: int = 0
    age_s: float | None = None


@asynccontextmanager
async def module_lock(driver: Any, bk_module_id: int, *, silent_ms: int = _SILENT_MS) -> AsyncIterator[bool]:
    """Inside the block this connection carries the module's deliveries; False where another one does.

    A worker whose connection has died without a word would hold the module until TCP notices, which takes hours. So
    PostgreSQL ends a session that has said nothing for `silent_ms`, and its lock with it. A worker that lives, and was
    only slow, fails at its next statement and begins again.
    """
    is_ours = await driver.fetchval(_LOCK, bk_module_id, str(silent_ms)) is not None
    try:
        yield is_ours
    except BaseException:
        driver.terminate()  # the lock goes with it
        raise
    if is_ours:
        await driver.fetchval(_UNLOCK, bk_module_id)


async def module_of(driver: Any, request_id: str) -> int | None:
    """The module that a request's delivery is for; None when it has ended."""
    found: int | None = await driver.fetchval(_MODULE, request_id)
    return found


async def due(driver: Any, bk_module_id: int) -> list[Delivery]:
    """The deliveries of a module that are to be carried now, and those that have ended and were not told."""
    return [Delivery(*row) for row in await driver.fetch(_DUE, bk_module_id)]


async def begin(driver: Any, deliveries: Sequence[Delivery]) -> None:
    """Count that they are carried; `put_off` and `end` take that back."""
    await driver.execute(_BEGIN, [one.request_id for one in deliveries])


async def put_off(
    driver: Any, deliveries: Sequence[Delivery], seconds: float, reason: str = "", *, has_failed: bool = True
) -> None:
    """Have them carried again later; `reason` is kept for an operator to see."""
    await driver.execute(_PUT_OFF, [one.request_id for one in deliveries], seconds, reason, has_failed)


async def stale(driver: Any, seconds: float) -> list[tuple[str, int, int, int]]:
    """Of each module with deliveries that are due and that nobody was asked to carry for so long, one.

    Returns:
        Request id, business, module, and how many wait there.
    """
    async with transaction(driver):
        if not await driver.fetchval(_ONE_SWEEPS):
            return []
        return [tuple(row) for row in await driver.fetch(_STALE, seconds)]


async def open_call(driver: Any, bk_module_id: int, piece: int) -> OpenCall:
    """The call that a module waits for; `piece` where nobody knows yet how much CMDB takes."""
    row = await driver.fetchrow(_OPEN_CALL, bk_module_id)
    return OpenCall(piece) if row is None else OpenCall(*row)


async def begin_call(driver: Any, bk_module_id: int, piece: int, instance_ids: Sequence[int], after_id: int) -> None:
    """Write down that CMDB is about to be called for these instances."""
    await driver.execute(_CALL, bk_module_id, piece, instance_ids, after_id)


async def end_call(driver: Any, bk_module_id: int, links: Sequence[tuple[int, int]] = ()) -> None:
    """The call has ended; `links` are the ids here, and CMDB's, of what it has created."""
    async with transaction(driver):
        await link(driver, links)
        await driver.execute(_END_CALL, bk_module_id)


async def link(driver: Any, links: Sequence[tuple[int, int]]) -> None:
    """Put CMDB's ids beside ours."""
    if links:
        await driver.execute(_LINK, *zip(*links, strict=True))


async def linked(driver: Any, cmdb_ids: Sequence[int]) -> set[int]:
    """Those of CMDB's ids that stand beside one of ours."""
    return {id_ for (id_,) in await driver.fetch(_LINKED, cmdb_ids)}


async def cmdb_ids(driver: Any, ids: Sequence[int]) -> set[int]:
    """CMDB's ids of instances here."""
    return {id_ for (id_,) in await driver.fetch(_CMDB_IDS, ids)}


async def set_size(driver: Any, bk_module_id: int, piece: int) -> None:
    """How many instances the next calls of a module are for."""
    await driver.execute(_SIZE, bk_module_id, piece)


async def read_ours(driver: Any, ids: Sequence[int]) -> list[Ours]:
    """Instances with their processes, each with what CMDB is known to have of it; by host."""
    under: dict[int, list[StoredProcess]] = {id_: [] for id_ in ids}
    for process in await stored_processes(driver, ids):
        under[process.service_instance_id].append(process)
    return [Ours(**dict(row), processes=tuple(under[row["id"]])) for row in await driver.fetch(_OURS, ids)]


async def end(driver: Any, delivery: Delivery, end: End, change: Callable[[Report], Report]) -> Report | None:
    """End a delivery, and let the ledger's report say so; returns it, None when it is gone.

    What failed for some of the same instances is looked at again where this one went well.
    """
    async with transaction(driver):
        stored = await driver.fetchval(_REPORT, delivery.request_id)
        report = None if stored is None else change(Report.load(stored))
        if report is not None:
            dumped = report.dump().decode()
            await driver.execute(_SET_REPORT, delivery.request_id, report.status.value, int(report.code), dumped)
        await driver.execute(_END, delivery.request_id, *end)
        if end.status == "DELIVERED":
            await driver.execute(_RECONSIDER, delivery.request_id)
    return report


async def stored_report(driver: Any, request_id: str) -> Report | None:
    """The ledger's report of a request."""
    stored = await driver.fetchval("SELECT report FROM request_ledger WHERE request_id = $1", request_id)
    return None if stored is None else Report.load(stored)


async def told(driver: Any, request_id: str) -> None:
    """Its caller can see how it has ended: a FAILED delivery is kept for an operator, the others are forgotten."""
    await driver.execute(_FORGET, request_id)
    await driver.execute(_TOLD, request_id)


async def listing(driver: Any, status: str, limit: int) -> list[dict[str, Any]]:
    """The oldest of the outbox, of one status, or of any where it is empty."""
    return [dict(row) for row in await driver.fetch(_LIST, status, limit)]


async def retry(driver: Any, request_id: str) -> bool:
    """Have a delivery carried anew, at once; False when there is none."""
    return bool(await driver.fetchval(_RETRY, request_id))


async def drop(driver: Any, request_id: str) -> bool:
    """Have a delivery given up; False when there is none."""
    return bool(await driver.fetchval(_DROP, request_id))


async def backlog(driver: Any) -> dict[str, float]:
    """How many deliveries are ``pending`` and ``failed``, and the age of the oldest pending one (``oldest_s``)."""
    return dict(await driver.fetchrow(_BACKLOG))


async def read_backlog(engine: Engine) -> dict[str, float]:
    """`backlog`, over a connection of its own.

    Raises:
        DatabaseError: PostgreSQL does not answer.
    """
    async with driver_connection(engine) as driver:
        return await backlog(driver)
