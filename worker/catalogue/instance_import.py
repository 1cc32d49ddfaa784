"""Take over CMDB's service instances from files, as `bksi catalogue import --instances` does."""

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from worker.catalogue.answers import Answer, AnswerRefused
from worker.catalogue.instance_items import Listed, read_instances
from worker.catalogue.instance_pull import LAST_ID
from worker.catalogue.instance_report import InstanceReport
from worker.catalogue.scope import why_filtered
from worker.postgres.cmdb_pulls import mark_gone
from worker.postgres.cmdb_rows import InstanceRows
from worker.postgres.engine import Engine, clock, driver_connection

_PAGE: Final = 500


def age_s(files: Sequence[Path]) -> float:
    """Seconds since the oldest of the files was written."""
    return max((time.time() - file.stat().st_mtime for file in files if file.exists()), default=0.0)


async def import_instances(
    engine: Engine,
    answers: Sequence[Answer],
    *,
    first_id: int,
    prune: bool,
    unreadable: Sequence[AnswerRefused] = (),
    age_s: float = 0.0,
) -> InstanceReport:
    """Take over what answers list, a page of instances in each transaction.

    Args:
        engine: of a migrated database.
        answers: of the APIs in `worker.catalogue.instance_items`.
        first_id: ids of ours begin at it.
        prune: the answers are whole listings of the businesses they name: mark what they lack as gone.
        unreadable: files that could not be read.
        age_s: how old the answers are; what came to CMDB since is not in them, and not gone.
    """
    report, found, rows = InstanceReport(), read_instances(answers), InstanceRows(first_id=first_id)
    report.left_out += map(str, unreadable)
    async with driver_connection(engine) as driver:
        asked_at = await clock(driver) - timedelta(seconds=age_s)
        report.add(found, [])
        for start in range(0, len(found.instances), _PAGE):
            page = found.instances[start : start + _PAGE]
            report.add(Listed(), await rows.sync(driver, page, asked_at))
        if prune:
            await _mark_gone(driver, answers, found, report, asked_at)
    return report


async def _mark_gone(
    driver: Any, answers: Sequence[Answer], found: Listed, report: InstanceReport, asked_at: datetime
) -> None:
    if reason := _why_partial(answers, found, report):
        report.left_out.append(f"{reason}: nothing is marked as gone")
        return
    for bk_biz_id in sorted({one.bk_biz_id for one in found.instances}):
        report.gone += await mark_gone(driver, bk_biz_id, found.ids, after=0, until=LAST_ID, linked_before=asked_at)


def _why_partial(answers: Sequence[Answer], found: Listed, report: InstanceReport) -> str:
    if found.has_unreadable_id or report.left_out:
        return "something could not be read"
    if filtered := why_filtered([one.request for one in answers], "service_instance_id"):
        return filtered
    counts = [answer.count for answer in answers if answer.count is not None]
    if counts and len(set(found.ids)) < max(counts):
        return f"{len(set(found.ids))} of {max(counts)} service instances"
    return ""
