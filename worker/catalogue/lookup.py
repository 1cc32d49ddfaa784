"""Ask CMDB about a module and hosts before a request is refused for not knowing them.

A catalogue is as old as its last pull. What a request needs and the catalogue lacks is looked up once, together with
what others lack at the same time, and taken into the catalogue; a moment later nobody asks again. A CMDB that is away
changes nothing: the request is then answered from the catalogue as it is.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Final

import structlog

from plumbing.bounded import Recent
from plumbing.coalesce import Gather
from worker.catalogue.answers import API_KINDS, Answer, AnswerRefused, answer_of
from worker.catalogue.cmdb import Cmdb, CmdbRefused, CmdbUnavailable
from worker.catalogue.items import HOST_FIELDS, MODULE_FIELDS
from worker.catalogue.load import import_answers
from worker.postgres.engine import Engine
from worker.postgres.errors import typed_errors

FRESH_S: Final = 5.0
"""What was looked up so long ago, or later, is not looked up again."""
_AT_MOST: Final = 500
"""Ids that one call of CMDB's takes."""
_REMEMBERED: Final = 10_000
_PATH: Final = "/api/v3/findmany/proc/"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Missing:
    """What the catalogue lacks of one request: its module, or hosts in it."""

    bk_biz_id: int
    bk_module_id: int
    lacks_module: bool
    bk_host_ids: tuple[int, ...]

    @property
    def keys(self) -> list[tuple[int, ...]]:
        """What is remembered of it."""
        hosts: list[tuple[int, ...]] = [(self.bk_biz_id, self.bk_module_id, host) for host in self.bk_host_ids]
        return [*hosts, (self.bk_biz_id, self.bk_module_id)] if self.lacks_module else hosts


@dataclass(slots=True)
class _Wanted:
    """What several requests of one business lack."""

    modules: set[int] = field(default_factory=set)
    relations: set[tuple[int, int]] = field(default_factory=set)


class Lookup:
    """Used from one event loop.

    Args:
        engine: where the catalogue is.
        cmdb: what is asked; it is opened for each call, in a thread.
    """

    def __init__(self, engine: Engine, cmdb: Cmdb) -> None:
        self._engine = engine
        self._cmdb = cmdb
        self._away_until = 0.0
        self._asked: Recent[tuple[int, ...], float] = Recent(_REMEMBERED)
        self._asking = Gather(self._ask, most=_AT_MOST, weigh=lambda missing: 1 + len(missing.bk_host_ids))

    async def ask(self, bk_biz_id: int, bk_module_id: int, bk_host_ids: Iterable[int], *, lacks_module: bool) -> bool:
        """Look up hosts in a module, and the module; False when that was just done, or CMDB cannot be asked.

        Raises:
            DatabaseError: what CMDB said could not be stored.
        """
        missing = Missing(bk_biz_id, bk_module_id, lacks_module, tuple(dict.fromkeys(bk_host_ids)))
        if time.monotonic() < self._away_until or all(self._is_fresh(key) for key in missing.keys):
            return False
        return await self._asking(missing)

    def _is_fresh(self, key: tuple[int, ...]) -> bool:
        asked_at = self._asked.get(key)
        return asked_at is not None and time.monotonic() - asked_at < FRESH_S

    async def _ask(self, missing: Sequence[Missing]) -> list[bool]:
        wanted: dict[int, _Wanted] = defaultdict(_Wanted)
        for one in missing:
            if all(self._is_fresh(key) for key in one.keys):  # by the call before
                continue
            if one.lacks_module:
                wanted[one.bk_biz_id].modules.add(one.bk_module_id)
            wanted[one.bk_biz_id].relations |= {(one.bk_module_id, host) for host in one.bk_host_ids}
        try:
            answers = await asyncio.to_thread(self._read, wanted) if wanted else []
            with typed_errors():
                await import_answers(self._engine, answers)
        except (CmdbRefused, CmdbUnavailable, AnswerRefused) as error:
            # Others need not wait as long for the same.
            self._away_until = time.monotonic() + FRESH_S
            _log.warning("not looked up", reason=str(error))
            return [False] * len(missing)
        finally:
            now = time.monotonic()
            for key in {key for one in missing for key in one.keys}:
                self._asked.put(key, now)
        return [True] * len(missing)

    def _read(self, wanted: Mapping[int, _Wanted]) -> list[Answer]:
        with self._cmdb as cmdb:
            return [answer for bk_biz_id, one in wanted.items() for answer in _read(cmdb, bk_biz_id, one)]


def _read(cmdb: Cmdb, bk_biz_id: int, wanted: _Wanted) -> Iterator[Answer]:
    template_ids: set[int] = set()
    for ids in _chunks(wanted.modules):
        modules = _call(
            cmdb,
            "find_module_batch",
            f"/api/v3/findmany/module/bk_biz_id/{bk_biz_id}",
            {"bk_biz_id": bk_biz_id, "bk_ids": ids, "fields": list(MODULE_FIELDS)},
        )
        template_ids |= {item.get("service_template_id") or 0 for item in _objects(modules)}
        yield modules
    yield from _templates(cmdb, bk_biz_id, template_ids - {0})
    for ids in _chunks({host for _, host in wanted.relations}):
        yield from _hosts(cmdb, bk_biz_id, ids, wanted.relations)


def _templates(cmdb: Cmdb, bk_biz_id: int, ids: set[int]) -> Iterator[Answer]:
    left = set(ids)
    for number in count():
        if not left:
            break
        page = {"start": number * _AT_MOST, "limit": _AT_MOST, "sort": "id"}
        body = {"bk_biz_id": bk_biz_id, "page": page}
        found = _call(cmdb, "list_service_template", _PATH + "service_template", body)
        yield replace(found, items=[item for item in _objects(found) if item.get("id") in ids])
        left -= {item.get("id") for item in _objects(found)}
        if len(found.items) < _AT_MOST:
            break
    for id_ in sorted(ids):
        body = {"bk_biz_id": bk_biz_id, "service_template_id": id_}
        yield _call(cmdb, "list_proc_template", _PATH + "proc_template", body)


def _hosts(cmdb: Cmdb, bk_biz_id: int, ids: list[int], wanted: set[tuple[int, int]]) -> Iterator[Answer]:
    body = {"bk_biz_id": bk_biz_id, "bk_host_id": ids}
    relations = _call(cmdb, "find_host_biz_relations", "/api/v3/hosts/modules/read", body)
    items = [item for item in _objects(relations) if (item.get("bk_module_id"), item.get("bk_host_id")) in wanted]
    yield replace(relations, items=items)
    if not items:
        return
    rule = {"field": "bk_host_id", "operator": "in", "value": ids}
    yield _call(
        cmdb,
        "list_biz_hosts",
        f"/api/v3/hosts/app/{bk_biz_id}/list_hosts",
        {
            "bk_biz_id": bk_biz_id,
            "fields": list(HOST_FIELDS),
            "host_property_filter": {"condition": "AND", "rules": [rule]},
            "page": {"start": 0, "limit": _AT_MOST, "sort": "bk_host_id"},
        },
    )


def _call(cmdb: Cmdb, api: str, path: str, body: Mapping[str, Any]) -> Answer:
    return answer_of({**cmdb.call(api, path, body), "request": dict(body)}, api, API_KINDS[api])


def _objects(answer: Answer) -> Iterable[dict[str, Any]]:
    return [item for item in answer.items if isinstance(item, dict)]


def _chunks(ids: Iterable[int]) -> Iterator[list[int]]:
    wanted = sorted(ids)
    return (wanted[start : start + _AT_MOST] for start in range(0, len(wanted), _AT_MOST))
