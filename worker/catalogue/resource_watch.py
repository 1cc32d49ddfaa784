"""Hear from CMDB in which business something changes (``resource_watch``), where it is to be had.

An event only says which business to pull now and not in its turn: the pull reads everything as it is, so events that
are lost, doubled or out of order do no harm.
"""

import threading
import time
from collections.abc import Callable
from queue import Queue
from typing import Any, Final

import structlog

from worker.catalogue.cmdb import Cmdb, CmdbRefused, CmdbUnavailable

RESOURCES: Final = ("host_relation", "module", "process")
"""What is listened to: hosts that move, modules, and processes, with which service instances come and go."""
EVERY_BUSINESS: Final = 0
"""Stands for all of them, when events may have been missed."""
_PAUSE_S: Final = 5.0
_log = structlog.get_logger(__name__)


def listen(open_cmdb: Callable[[], Cmdb], changed: "Queue[int]") -> None:
    """Put the id of every business in which something changes into `changed`, from threads that end with the process.

    Args:
        open_cmdb: makes a `Cmdb` for one thread; CMDB holds a call open for 20 seconds.
        changed: the ids, or `EVERY_BUSINESS`.
    """
    for resource in RESOURCES:
        threading.Thread(
            target=_listen, args=(open_cmdb(), resource, changed), name=f"watch-{resource}", daemon=True
        ).start()


def _listen(cmdb: Cmdb, resource: str, changed: "Queue[int]") -> None:
    cursor = ""
    with cmdb:
        while True:
            try:
                cursor = _hear(cmdb, resource, cursor, changed)
            except CmdbRefused as refused:
                if not cursor:
                    _log.warning("not listened to; pulled in its turn only", resource=resource, reason=str(refused))
                    return
                # It lives for three hours, and not through everything that happens to a CMDB.
                cursor = ""
                changed.put(EVERY_BUSINESS)
            except CmdbUnavailable as error:
                _log.warning("not heard", resource=resource, reason=str(error))
                time.sleep(_PAUSE_S)


def _hear(cmdb: Cmdb, resource: str, cursor: str, changed: "Queue[int]") -> str:
    """Wait for events after `cursor`, from now on without one; returns the cursor of the last."""
    body = {"bk_resource": resource, "bk_supplier_account": cmdb.supplier_account}
    found = cmdb.call("resource_watch", body | ({"bk_cursor": cursor} if cursor else {})).get("data")
    data: dict[str, Any] = found if isinstance(found, dict) else {}
    events = data.get("bk_events")
    if not isinstance(events, list) or not events or not all(isinstance(event, dict) for event in events):
        raise CmdbRefused("resource_watch: no events and no cursor")
    if data.get("bk_watched"):
        for event in events:
            detail = event.get("bk_detail")
            bk_biz_id = detail.get("bk_biz_id") if isinstance(detail, dict) else None
            changed.put(bk_biz_id if type(bk_biz_id) is int else EVERY_BUSINESS)
    return str(events[-1].get("bk_cursor") or "")
