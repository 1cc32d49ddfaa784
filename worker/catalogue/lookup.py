"""Ask CMDB about a module and hosts before a request is refused for not knowing them.

A catalogue is as old as its last pull. What a request needs and the catalogue lacks is looked up once, together with
what others lack at the same time, and taken into the catalogue; a moment later nobody asks again. A CMDB that is away
changes nothing: the request is then answered from the catalogue as it is.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any, Final, NamedTuple

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
_log = structlog.get_logger(__name__)


class Lacking(NamedTuple):
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


class Lookup:
    """Used from one event loop. `cmdb` is opened for each call, in a thread."""

    def __init__(self, engine: Engine, cmdb: Cmdb) -> None:
        self._engine = engine
        self._cmdb = cmdb
        self._away_until = 0.0
        self._asked: Recent[tuple[int, ...], float] = Recent(_REMEMBERED)
        self._asking = Gather(self._ask, most=_AT_MOST, weigh=lambda lacking: 1 + len(lacking.bk_host_ids))

    async def ask(self, bk_biz_id: int, bk_module_id: int, bk_host_ids: Iterable[int], *, lacks_module: bool) -> bool:
        """Look up hosts in a module, and the module; False when that was just done, or CMDB cannot be asked.

        Raises:
            DatabaseError: what CMDB said could not be stored.
        """
        lacking = Lacking(bk_biz_id, bk_module_id, lacks_module, tuple(dict.fromkeys(bk_host_ids)))
        if time.monotonic() < self._away_until or self._is_fresh(lacking):
            return False
        return await self._asking(lacking)

    def _is_fresh(self, lacking: Lacking) -> bool:
        since = time.monotonic() - FRESH_S
        return all((asked_at := self._asked.get(key)) is not None and asked_at > since for key in lacking.keys)

    async def _ask(self, lacking: Sequence[Lacking]) -> list[bool]:
        of_business: dict[int, list[Lacking]] = defaultdict(list)
        for one in lacking:
            if not self._is_fresh(one):  # else by the call before
                of_business[one.bk_biz_id].append(one)
        try:
            answers = await asyncio.to_thread(self._read, of_business) if of_business else []
            with typed_errors():
                await import_answers(self._engine, answers)
        except (CmdbRefused, CmdbUnavailable, AnswerRefused) as error:
            # Others need not wait as long for the same.
            self._away_until = time.monotonic() + FRESH_S
            _log.warning("not looked up", reason=str(error))
            return [False] * len(lacking)
        finally:
            now = time.monotonic()
            for key in {key for one in lacking for key in one.keys}:
                self._asked.put(key, now)
        return [True] * len(lacking)

    def _read(self, of_business: Mapping[int, Collection[Lacking]]) -> list[Answer]:
        with self._cmdb as cmdb:
            return [answer for bk_biz_id, lacking in of_business.items() for answer in _read(cmdb, bk_biz_id, lacking)]


def _read(cmdb: Cmdb, bk_biz_id: int, lacking: Collection[Lacking]) -> Iterator[Answer]:
    template_ids: set[int] = set()
    for ids in _chunks({one.bk_module_id for one in lacking if one.lacks_module}):
        body = {"bk_biz_id": bk_biz_id, "bk_ids": ids, "fields": list(MODULE_FIELDS)}
        modules = _call(cmdb, "find_module_batch", body)
        template_ids |= {item.get("service_template_id") or 0 for item in modules.objects}
        yield modules
    yield from _templates(cmdb, bk_biz_id, template_ids - {0})
    relations = {(one.bk_module_id, host) for one in lacking for host in one.bk_host_ids}
    for ids in _chunks({host for _, host in relations}):
        yield from _hosts(cmdb, bk_biz_id, ids, relations)


def _templates(cmdb: Cmdb, bk_biz_id: int, ids: set[int]) -> Iterator[Answer]:
    left = set(ids)
    for number in count():
        if not left:
            break
        page = {"start": number * _AT_MOST, "limit": _AT_MOST, "sort": "id"}
        body = {"bk_biz_id": bk_biz_id, "page": page}
        found = _call(cmdb, "list_service_template", body)
        yield replace(found, items=[item for item in found.objects if item.get("id") in ids])
        left -= {item.get("id") for item in found.objects}
        if len(found.items) < _AT_MOST:
            break
    for id_ in sorted(ids):
        yield _call(cmdb, "list_proc_template", {"bk_biz_id": bk_biz_id, "service_template_id": id_})


def _hosts(cmdb: Cmdb, bk_biz_id: int, ids: list[int], wanted: set[tuple[int, int]]) -> Iterator[Answer]:
    relations = _call(cmdb, "find_host_biz_relations", {"bk_biz_id": bk_biz_id, "bk_host_id": ids})
    items = [item for item in relations.objects if (item.get("bk_module_id"), item.get("bk_host_id")) in wanted]
    yield replace(relations, items=items)
    if not items:
        return
    rule = {"field": "bk_host_id", "operator": "in", "value": ids}
    yield _call(
        cmdb,
        "list_biz_hosts",
        {
            "bk_biz_id": bk_biz_id,
            "fields": list(HOST_FIELDS),
            "host_property_filter": {"condition": "AND", "rules": [rule]},
            "page": {"start": 0, "limit": _AT_MOST, "sort": "bk_host_id"},
        },
    )


def _call(cmdb: Cmdb, api: str, body: Mapping[str, Any]) -> Answer:
    return answer_of({**cmdb.call(api, body), "request": dict(body)}, api, API_KINDS[api])


def _chunks(ids: Iterable[int]) -> Iterator[list[int]]:
    wanted = sorted(ids)
    return (wanted[start : start + _AT_MOST] for start in range(0, len(wanted), _AT_MOST))
