"""`bksi catalogue watch`: pull again and again, so that the catalogue is never older than it takes."""

import asyncio
import logging
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from types import FrameType
from typing import Any, Final, Never

import structlog
from rich.progress import Progress

from contract.settings import Settings
from worker.catalogue.answers import AnswerRefused
from worker.catalogue.cmdb import Cmdb, CmdbRefused, CmdbUnavailable
from worker.catalogue.instance_pull import pull_instances
from worker.catalogue.load import import_answers
from worker.catalogue.pages import Pages, PagesOfAnother
from worker.catalogue.pull import pull
from worker.catalogue.resource_watch import EVERY_BUSINESS
from worker.catalogue.steps import STATEMENT_TIMEOUT_MS
from worker.postgres.cmdb_pulls import known_businesses, record
from worker.postgres.engine import Engine, create_engine, driver_connection
from worker.postgres.errors import DatabaseError, typed_errors

_log = structlog.get_logger(__name__)
_TOGETHER_S: Final = 1.0
_EXPECTED = (CmdbRefused, CmdbUnavailable, AnswerRefused, PagesOfAnother, DatabaseError, OSError)


@dataclass(frozen=True, slots=True)
class Watch:
    """What is pulled: of these businesses, or of all that the catalogue knows, every so many seconds."""

    cmdb: Cmdb
    businesses: Sequence[int]
    every_s: float
    instances: bool
    prune: bool
    events: "Queue[int]"
    """Businesses to pull at once (`worker.catalogue.resource_watch`)."""


def watch(settings: Settings, wanted: Watch) -> None:
    """Pull until SIGTERM or SIGINT. What fails is logged and tried again in its turn; nothing is left half imported."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)

    # One directory above those of the rounds: a signal in mid-removal of a round's leaves it to this one's.
    with tempfile.TemporaryDirectory(prefix="bksi-pull-") as directory:
        _watch(settings, wanted, Path(directory))


def _watch(settings: Settings, wanted: Watch, directory: Path) -> Never:
    async def pull_all(only: Collection[int]) -> None:
        engine = create_engine(
            settings.postgres_dsn,
            connections=1,
            statement_timeout_ms=STATEMENT_TIMEOUT_MS,
            application_name="bksi catalogue watch",
        )
        try:
            for bk_biz_id in wanted.businesses or await _known(engine):
                if bk_biz_id in only or EVERY_BUSINESS in only:
                    await _pull(engine, wanted, bk_biz_id, settings.first_id, directory)
        finally:
            await engine.dispose()

    while True:
        next_round = time.monotonic() + wanted.every_s
        asyncio.run(pull_all({EVERY_BUSINESS}))
        while (changed := _changed(wanted.events, next_round)) is not None:
            asyncio.run(pull_all(changed))


def _end(_number: int, _frame: FrameType | None) -> Never:
    # A connection that is cut in mid-use is no fault now, and SQLAlchemy's pool would log a traceback of it.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL + 1)
    sys.exit(0)


def _changed(events: "Queue[int]", until: float) -> set[int] | None:
    """The businesses that changed, with what else happens in the same second; None when it is `until`."""
    try:
        found = {events.get(timeout=max(until - time.monotonic(), 0))}
    except Empty:
        return None
    time.sleep(_TOGETHER_S)
    with suppress(Empty):
        while True:
            found.add(events.get_nowait())
    return found


async def _known(engine: Engine) -> list[int]:
    try:
        async with driver_connection(engine) as driver:
            return await known_businesses(driver)
    except DatabaseError as error:
        _log.warning("not pulled", reason=str(error))
        return []


async def _pull(engine: Engine, wanted: Watch, bk_biz_id: int, first_id: int, directory: Path) -> None:
    began = time.monotonic()
    try:
        with typed_errors():
            changed = await _pull_business(engine, wanted, bk_biz_id, first_id, directory)
    except _EXPECTED as error:
        _log.warning("not pulled", bk_biz_id=bk_biz_id, reason=str(error))
    else:
        _log.info("pulled", bk_biz_id=bk_biz_id, seconds=round(time.monotonic() - began, 1), **changed)


async def _pull_business(
    engine: Engine, wanted: Watch, bk_biz_id: int, first_id: int, directory: Path
) -> dict[str, Any]:
    began = time.monotonic()
    # Pages of a round that failed are not kept: they would make the next one as old.
    with wanted.cmdb as cmdb, tempfile.TemporaryDirectory(dir=directory) as of_round:
        pages = Pages(Path(of_round), {"url": wanted.cmdb.url, "bk_biz_id": bk_biz_id})
        answers = pull(cmdb, bk_biz_id, pages, Progress(disable=True))
        report = await import_answers(engine, answers, bk_biz_id=bk_biz_id, prune=wanted.prune)
        async with driver_connection(engine) as driver:
            await record(driver, bk_biz_id, "catalogue", time.monotonic() - began)
        changed: Counter[str] = Counter()
        for counts in report.counts().values():
            changed.update(counts)
        said: dict[str, Any] = {name: changed[name] for name in ("added", "changed", "removed", "refused")}
        if wanted.instances:
            found = await pull_instances(engine, cmdb, bk_biz_id, first_id=first_id, prune=wanted.prune)
            said |= {"instances": found.instances | {"gone": len(found.gone), "left_out": len(found.left_out)}}
    return said
