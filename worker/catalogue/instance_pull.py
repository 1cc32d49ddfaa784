"""Read the service instances of a business from a live CMDB, page by page, and take each page over at once.

The listing is read in the order of the ids, which ascend, and each page begins with the last row of the one before.
When it begins with a higher one, rows that had been read were removed and the listing has moved up: it is read from
further back until it joins. So between two ids that were read nothing is missing, new ones come at the end, and what
CMDB is known to have had in between and does not list is gone.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from worker.catalogue.answers import Answer, listed
from worker.catalogue.cmdb import Cmdb, CmdbRefused
from worker.catalogue.instance_items import read_instances
from worker.catalogue.instance_report import InstanceReport
from worker.postgres.cmdb_pulls import begin, finish, mark_gone, reach
from worker.postgres.cmdb_rows import InstanceRows
from worker.postgres.engine import Engine, clock, driver_connection

LIMIT: Final = 500
"""Rows of a page; CMDB allows 1000."""
LAST_ID: Final = 2**63 - 1
_API: Final = "list_service_instance_detail"
_EVERYTHING: Final[Mapping[str, Any]] = {}


@dataclass(frozen=True, slots=True)
class InstancePage:
    """Rows that were not read before; `rows_read` counts from the beginning, `total` is CMDB's count."""

    answer: Answer
    rows_read: int
    total: int


def instance_pages(
    cmdb: Cmdb, bk_biz_id: int, *, rows_read: int = 0, last_id: int = 0, where: Mapping[str, Any] = _EVERYTHING
) -> Iterator[InstancePage]:
    """Yield the rows after the one with `last_id`, which stood at `rows_read` when it was read.

    `where` are further conditions, in CMDB's names.

    Raises:
        CmdbRefused: CMDB says no, or does not list in the order of ids.
        CmdbUnavailable: CMDB cannot be reached.
        AnswerRefused: CMDB answers something that lists nothing.
    """
    start = max(rows_read - 1, 0)
    while True:
        request = {"bk_biz_id": bk_biz_id, **where, "page": {"start": start, "limit": LIMIT, "sort": "id"}}
        answer = listed(cmdb.call(_API, request), f"{_API} from row {start}")
        ids = [_id_of(item) for item in answer.items]
        if ids != sorted(ids):
            raise CmdbRefused(f"{_API}: CMDB does not sort by id, so what is gone cannot be told from what has moved")
        if start > 0 and (not ids or ids[0] > last_id):
            start = max(start - LIMIT + 1, 0)
            continue
        new = [item for item, id_ in zip(answer.items, ids, strict=True) if id_ > last_id]
        end = start + len(ids)
        total = answer.count or end
        if new:
            last_id = ids[-1]
            yield InstancePage(replace(answer, items=new), end, max(total, end))
        if len(ids) < LIMIT or end >= total:
            return
        start = end - 1


async def pull_instances(
    engine: Engine,
    cmdb: Cmdb,
    bk_biz_id: int,
    *,
    first_id: int = 1,
    prune: bool = True,
    tell: Callable[[int, int], object] = lambda done, total: None,
) -> InstanceReport:
    """Take over what CMDB has of a business; a call that was interrupted goes on where it was.

    Ids of ours begin at `first_id`. With `prune`, what CMDB has no more is marked as gone. `tell` is told how many rows
    are done, of how many.
    """
    report, rows = InstanceReport(), InstanceRows(first_id=first_id)
    async with driver_connection(engine) as driver:
        place = await begin(driver, bk_biz_id, "instances")
        last_id, read_at = place.last_id, await clock(driver)
        for page in instance_pages(cmdb, bk_biz_id, rows_read=place.rows_read, last_id=last_id):
            found = read_instances([page.answer])
            last_of_page = max(found.ids)
            report.add(found, await rows.sync(driver, found.instances, read_at))
            if prune and not found.has_unreadable_id:
                report.gone += await mark_gone(
                    driver, bk_biz_id, found.ids, after=last_id, until=last_of_page, linked_before=place.started_at
                )
            last_id = last_of_page
            await reach(driver, bk_biz_id, "instances", page.rows_read, last_id)
            tell(page.rows_read, page.total)
            read_at = await clock(driver)
        if prune and not report.has_unreadable_id:
            report.gone += await mark_gone(
                driver, bk_biz_id, [], after=last_id, until=LAST_ID, linked_before=place.started_at
            )
        await finish(driver, bk_biz_id, "instances")
    return report


def _id_of(item: Any) -> int:
    id_ = item.get("id") if isinstance(item, dict) else None
    if type(id_) is not int:
        raise CmdbRefused(f"{_API}: an item has no id")
    return id_
