"""CMDB as a delivery sees it: what it has on some hosts, and a call that changes it, made once.

Calls are made in threads of their own, so that the loop goes on and nobody else waits for a thread. A process that ends
waits for none of them: what it has begun is written down, and how it ended is looked at by whoever comes next.
"""

import asyncio
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any, TypeVar

from worker.catalogue.answers import AnswerRefused
from worker.catalogue.cmdb import Cmdb, CmdbRefused, CmdbUnavailable
from worker.catalogue.instance_items import Listed, read_instances
from worker.catalogue.instance_pull import instance_pages
from worker.expand.delivery import Call

T = TypeVar("T")


class Unclear(CmdbRefused):
    """What CMDB lists cannot be taken as a whole, and what is left out of it may be what is to be created."""


class Bridge:
    """Used from one event loop. `open_cmdb` makes a client for one call's thread."""

    def __init__(self, open_cmdb: Callable[[], Cmdb]) -> None:
        self._open_cmdb = open_cmdb

    async def look(self, bk_biz_id: int, bk_module_id: int, bk_host_ids: Iterable[int]) -> Listed:
        """What CMDB has in a module on these hosts.

        Raises:
            CmdbRefused: CMDB says no.
            Unclear: it lists what cannot be read.
            CmdbUnavailable: CMDB cannot be reached, or something answers in its place.
        """
        where = {"bk_module_id": bk_module_id, "bk_host_list": sorted(set(bk_host_ids))}
        return await self._in_thread(lambda cmdb: _look(cmdb, bk_biz_id, where))

    async def make(self, call: Call) -> Any:
        """Make a call, once; returns what CMDB answers.

        Raises:
            CmdbRefused, CmdbUnavailable: as `Cmdb.change`.
        """
        return await self._in_thread(lambda cmdb: cmdb.change(call.api, call.body))

    async def _in_thread(self, work: Callable[[Cmdb], T]) -> T:
        outcome: Future[T] = Future()
        outcome.set_running_or_notify_cancel()  # who stops waiting does not stop the thread

        def run() -> None:
            try:
                with self._open_cmdb() as cmdb:
                    outcome.set_result(work(cmdb))
            except BaseException as error:  # noqa: BLE001 - raised where it is waited for
                outcome.set_exception(error)

        threading.Thread(target=run, name="bksi-cmdb", daemon=True).start()
        return await asyncio.wrap_future(outcome)


def _look(cmdb: Cmdb, bk_biz_id: int, where: dict[str, Any]) -> Listed:
    try:
        found = read_instances([page.answer for page in instance_pages(cmdb, bk_biz_id, where=where)])
    except (CmdbRefused, AnswerRefused) as refused:
        if isinstance(refused, CmdbRefused) and refused.code:
            raise
        # No answer of CMDB's: a page of a proxy before it, for as long as CMDB is upgraded, for example.
        raise CmdbUnavailable(str(refused), is_undone=True) from None
    if found.has_unreadable_id or len(found.instances) < len(set(found.ids)):
        raise Unclear(f"list_service_instance_detail: {'; '.join(found.left_out[:3])}")
    return found
