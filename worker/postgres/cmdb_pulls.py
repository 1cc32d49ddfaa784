"""How far each business was read from CMDB, and what CMDB has no more."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from worker.expand.sync import apart_key
from worker.postgres.engine import transaction

What = Literal["catalogue", "instances"]
_MAX_AGE: Final = timedelta(hours=1)
"""A pull that stopped longer ago begins again: what it read says too little about CMDB as it is now."""
_BEGIN: Final = """
INSERT INTO cmdb_pull AS p (bk_biz_id, what, started_at, is_under_way) VALUES ($1, $2, clock_timestamp(), true)
ON CONFLICT (bk_biz_id, what) DO UPDATE SET
    started_at = CASE WHEN p.is_under_way AND p.started_at > now() - $3::interval THEN p.started_at
                      ELSE clock_timestamp() END,
    rows_read = CASE WHEN p.is_under_way AND p.started_at > now() - $3::interval THEN p.rows_read ELSE 0 END,
    last_id = CASE WHEN p.is_under_way AND p.started_at > now() - $3::interval THEN p.last_id ELSE 0 END,
    is_under_way = true
RETURNING started_at, rows_read, last_id
"""
_REACHED: Final = "UPDATE cmdb_pull SET rows_read = $3, last_id = $4 WHERE bk_biz_id = $1 AND what = $2"
_FINISHED: Final = """
UPDATE cmdb_pull SET is_under_way = false, finished_at = started_at, rows_read = 0, last_id = 0
WHERE bk_biz_id = $1 AND what = $2
"""
_RECORD: Final = """
INSERT INTO cmdb_pull (bk_biz_id, what, is_under_way, finished_at) VALUES ($1, $2, false, now() - $3::interval)
ON CONFLICT (bk_biz_id, what) DO UPDATE SET finished_at = excluded.finished_at
"""
_BUSINESSES: Final = "SELECT DISTINCT bk_biz_id FROM module ORDER BY 1"
_AGES: Final = """
SELECT bk_biz_id, what, extract(epoch FROM now() - finished_at)::float8 AS age_s FROM cmdb_pull
WHERE finished_at IS NOT NULL ORDER BY 1, 2
"""
_GONE: Final = """
UPDATE cmdb_instance AS l SET gone_at = now() FROM service_instance AS s
WHERE s.id = l.service_instance_id AND s.bk_biz_id = $1 AND l.gone_at IS NULL AND l.linked_at < $2
    AND l.cmdb_id > $3 AND l.cmdb_id <= $4 AND l.cmdb_id <> ALL ($5::bigint[])
RETURNING l.service_instance_id, l.cmdb_id
"""
_APART: Final = """
UPDATE service_instance AS s SET instance_key = new.key FROM unnest($1::bigint[], $2::text[]) AS new (id, key)
WHERE s.id = new.id
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pull has got to: `rows_read` rows, the last of them with the id `last_id`."""

    started_at: datetime
    rows_read: int
    last_id: int


async def begin(driver: Any, bk_biz_id: int, what: What) -> Place:
    """Begin to read a business, or go on where an earlier call stopped."""
    return Place(*await driver.fetchrow(_BEGIN, bk_biz_id, what, _MAX_AGE))


async def reach(driver: Any, bk_biz_id: int, what: What, rows_read: int, last_id: int) -> None:
    """Keep how far it got."""
    await driver.execute(_REACHED, bk_biz_id, what, rows_read, last_id)


async def finish(driver: Any, bk_biz_id: int, what: What) -> None:
    """It was read to its end."""
    await driver.execute(_FINISHED, bk_biz_id, what)


async def record(driver: Any, bk_biz_id: int, what: What, seconds: float) -> None:
    """It was read to its end by a reading that began so many seconds ago."""
    await driver.execute(_RECORD, bk_biz_id, what, timedelta(seconds=seconds))


async def known_businesses(driver: Any) -> list[int]:
    """Those with modules in the catalogue."""
    return [id_ for (id_,) in await driver.fetch(_BUSINESSES)]


async def ages(driver: Any) -> dict[tuple[int, str], float]:
    """Seconds since what each business has was last read to its end, by business and what was read."""
    return {(row["bk_biz_id"], row["what"]): row["age_s"] for row in await driver.fetch(_AGES)}


async def mark_gone(
    driver: Any, bk_biz_id: int, listed: list[int], *, after: int, until: int, linked_before: datetime
) -> list[tuple[int, int]]:
    """Mark what CMDB had between two of its ids (above `after`, up to `until`) and does not list any more.

    It is kept, and no request finds it: its `instance_key` is none that a request can have. What CMDB never had, or
    had only since `linked_before`, is left alone.

    Returns:
        The id here and CMDB's of each.
    """
    async with transaction(driver):
        gone = [tuple(row) for row in await driver.fetch(_GONE, bk_biz_id, linked_before, after, until, listed)]
        if gone:
            ids = sorted(id_ for id_, _ in gone)
            await driver.execute(_APART, ids, [apart_key("gone", id_) for id_ in ids])
    return gone
