"""The catalogue as the rules need it: cached in the process, compared with PostgreSQL's version now and then.

Everything in one cache is of one version: each read brings the version along in the same snapshot, and a read that
finds another version than the cache's begins a new cache with all that its batch needs.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

import orjson
from sqlalchemy.ext.asyncio import AsyncEngine

from plumbing.bounded import Recent
from plumbing.coalesce import Gather
from worker.expand.bound import Expansion
from worker.expand.catalogue import Host, Module
from worker.expand.expand import CatalogueSlice
from worker.expand.templates import parse_process_template
from worker.postgres.columns import bigint_array
from worker.postgres.engine import driver_connection

MAX_MODULES: Final = 5_000
MAX_TEMPLATES: Final = 1_000
_READ_TOGETHER: Final = 1_000
"""Modules and hosts that one statement looks up at most."""
MAX_HOSTS: Final = 20_000
"""Bounds of the cache, least recently used first out; a host takes about 400 bytes."""

_VERSION: Final = "SELECT version FROM catalogue_version"
# One row for each of what is wanted, in its order. All look-ups go one by one, in an index: a plan is kept for the life
# of a connection, and one made while the tables were small must not scan all modules, or all hosts of a large module.
_READ: Final = """
SELECT v.version,
       m.bk_module_id, m.bk_biz_id, m.bk_module_name, m.service_template_id, m."default", m.bk_supplier_account,
       (SELECT t.bk_biz_id FROM service_template t WHERE t.id = m.service_template_id) AS template_biz_id,
       CASE WHEN wanted.with_templates THEN (
           SELECT json_agg(json_build_array(p.id, p.property) ORDER BY p.id)::text
           FROM process_template p
           WHERE p.service_template_id = m.service_template_id
       ) END AS templates,
       (
           SELECT json_agg(json_build_array(
               h.bk_host_id, h.bk_host_innerip, h.bk_host_outerip, h.bk_host_innerip_v6, h.bk_host_outerip_v6))::text
           FROM unnest(wanted.bk_host_ids::bigint[]) AS one (bk_host_id)
           CROSS JOIN LATERAL (
               SELECT host.* FROM module_host_relation r JOIN host USING (bk_host_id)
               WHERE r.bk_module_id = wanted.bk_module_id AND r.bk_host_id = one.bk_host_id
                   AND r.bk_biz_id = wanted.bk_biz_id
               OFFSET 0
           ) AS h
       ) AS hosts
FROM catalogue_version v
CROSS JOIN unnest($1::bigint[], $2::bigint[], $3::text[], $4::boolean[])
    WITH ORDINALITY AS wanted (bk_biz_id, bk_module_id, bk_host_ids, with_templates, place)
LEFT JOIN LATERAL (SELECT * FROM module WHERE module.bk_module_id = wanted.bk_module_id OFFSET 0) AS m ON true
ORDER BY wanted.place
"""


_Asked = tuple[int, int, tuple[int, ...]]
"""What one batch asks for: hosts of a module of a business."""
_Known = tuple[tuple[Module, int | None, tuple[Expansion, ...]] | None, dict[int, Host]]
"""What a cache holds of what is wanted: the module as `CatalogueSlice` takes it, and hosts."""


@dataclass(frozen=True, slots=True)
class _Cache:
    """What was read under one version."""

    version: int
    modules: Recent[int, tuple[Module, int | None]] = field(default_factory=lambda: Recent(MAX_MODULES))
    templates: Recent[int, tuple[Expansion, ...]] = field(default_factory=lambda: Recent(MAX_TEMPLATES))
    hosts: Recent[tuple[int, int, int], Host] = field(default_factory=lambda: Recent(MAX_HOSTS))

    def known(self, asked: _Asked) -> _Known:
        """The module with its template's business and its process templates, if all of it is here, and hosts."""
        bk_biz_id, bk_module_id, bk_host_ids = asked
        found = ((id_, self.hosts.get((bk_biz_id, bk_module_id, id_))) for id_ in bk_host_ids)
        hosts = {id_: host for id_, host in found if host is not None}
        module, template_biz_id = self.modules.get(bk_module_id) or (None, None)
        templates = self.templates.get(module.service_template_id) if module and module.is_bound else ()
        return None if module is None or templates is None else (module, template_biz_id, templates), hosts


class Catalogue:
    """Answers what one batch needs to know; one per process, used from its event loop.

    Args:
        engine: where the catalogue is.
        check_ms: how long after PostgreSQL last told its version cached answers are given without asking again; 0 = it
            is asked each time.
        on_change: is called when another version is seen.
    """

    def __init__(self, engine: AsyncEngine, *, check_ms: int, on_change: Callable[[], object] = lambda: None) -> None:
        self._engine = engine
        self._on_change = on_change
        self._check_s = check_ms / 1000
        self._cache = _Cache(version=-1)
        self._checked_at = float("-inf")
        self._reading = Gather(self._read_together, most=_READ_TOGETHER, weigh=lambda asked: 1 + len(asked[2]))

    def look_again(self) -> None:
        """Compare with PostgreSQL's version before the next answer."""
        self._checked_at = float("-inf")

    async def slice(self, bk_biz_id: int, bk_module_id: int, bk_host_ids: Iterable[int]) -> CatalogueSlice:
        """The module, its process templates, and those of the hosts that are in it.

        Raises:
            DatabaseError: the database could not be read.
        """
        asked = bk_biz_id, bk_module_id, tuple(dict.fromkeys(bk_host_ids))
        if self._is_fresh() and (answer := _cached(self._cache, asked)):
            return answer
        return await self._reading(asked)

    async def _read_together(self, wanted: Sequence[_Asked]) -> list[CatalogueSlice]:
        async with driver_connection(self._engine) as driver:
            if not self._is_fresh() and all(_cached(self._cache, one) for one in wanted):
                asked_at = time.monotonic()
                version = await driver.fetchval(_VERSION)
                self._saw(asked_at, self._cache if version == self._cache.version else _Cache(version))
            cache = self._cache
            answers = {one: _cached(cache, one) for one in wanted}
            missing = [one for one, answer in answers.items() if answer is None]
            if missing:
                answers |= await self._read(driver, cache, missing, wanted)
        return [cast("CatalogueSlice", answers[one]) for one in wanted]

    async def _read(
        self, driver: Any, cache: _Cache, missing: Sequence[_Asked], wanted: Sequence[_Asked]
    ) -> dict[_Asked, CatalogueSlice]:
        """Read what of `missing` is not in `cache`; if the catalogue has changed, all of `wanted`, in one snapshot."""
        asked_at = time.monotonic()
        known = [cache.known(one) for one in missing]
        rows = await _fetch(driver, missing, known)
        if rows[0]["version"] != cache.version:
            # What the old cache knew may not fit to what was read now.
            missing = list(dict.fromkeys(wanted))
            known = [(None, {}) for _ in missing]
            rows = await _fetch(driver, missing, known)
            cache = _Cache(rows[0]["version"])
        self._saw(asked_at, cache)
        return {one: _filled(cache, one, *found) for one, *found in zip(missing, known, rows, strict=True)}

    def _is_fresh(self) -> bool:
        return time.monotonic() - self._checked_at < self._check_s

    def _saw(self, asked_at: float, cache: _Cache) -> None:
        # An answer that was under way while a later question was answered must not bring an older cache back.
        if asked_at >= self._checked_at:
            self._checked_at = asked_at
            if cache.version != self._cache.version:
                self._cache = cache
                self._on_change()


async def read_version(engine: AsyncEngine) -> tuple[int, float]:
    """The catalogue's version, and when it was last changed (seconds since 1970).

    Raises:
        DatabaseError: the database could not be read.
    """
    async with driver_connection(engine) as driver:
        (row,) = await driver.fetch("SELECT version, changed_at FROM catalogue_version")
    return row["version"], row["changed_at"].timestamp()


async def rehearse(driver: Any) -> None:
    """Have PostgreSQL go through the statement of this module with nothing to look up."""
    await driver.fetch(_READ, [], [], [], [])


async def _fetch(driver: Any, wanted: Sequence[_Asked], known: Sequence[_Known]) -> Sequence[Any]:
    columns = [
        (bk_biz_id, bk_module_id, bigint_array([id_ for id_ in bk_host_ids if id_ not in hosts]), module is None)
        for (bk_biz_id, bk_module_id, bk_host_ids), (module, hosts) in zip(wanted, known, strict=True)
    ]
    rows: Sequence[Any] = await driver.fetch(_READ, *zip(*columns, strict=True))
    return rows


def _cached(cache: _Cache, asked: _Asked) -> CatalogueSlice | None:
    module, hosts = cache.known(asked)
    return CatalogueSlice(*module, hosts) if module and len(hosts) == len(asked[2]) else None


def _filled(cache: _Cache, asked: _Asked, known: _Known, row: Any) -> CatalogueSlice:
    """Put what was read into the cache it belongs to, and answer."""
    if row["bk_module_id"] is None:
        return CatalogueSlice(module=None)
    (bk_biz_id, bk_module_id, _), (known_module, hosts) = asked, known
    for columns in orjson.loads(row["hosts"] or "[]"):
        host = Host(*columns)
        hosts[host.bk_host_id] = host
        cache.hosts.put((bk_biz_id, bk_module_id, host.bk_host_id), host)
    if known_module:
        return CatalogueSlice(*known_module, hosts)
    module = Module(*row[1:7])
    template_biz_id = row["template_biz_id"]
    templates: tuple[Expansion, ...] = ()
    if module.is_bound:
        templates = cache.templates.get(module.service_template_id) or tuple(
            Expansion(parse_process_template(*pair)) for pair in orjson.loads(row["templates"] or "[]")
        )
        cache.templates.put(module.service_template_id, templates)
    cache.modules.put(module.bk_module_id, (module, template_biz_id))
    return CatalogueSlice(module, template_biz_id, templates, hosts)
