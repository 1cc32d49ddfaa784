"""Read service instances as CMDB lists them. PostgreSQL makes the JSON, which nobody takes apart.

What CMDB has no more (`cmdb_instance.gone_at`) is not listed. Every filter but the business alone is answered from an
index that the writers keep anyway; docs/beside-cmdb.md has one for a business as a whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncEngine

from worker.postgres.engine import driver_connection
from worker.postgres.tables import PROCESS_PROPERTIES


@dataclass(frozen=True, slots=True)
class Label:
    """One condition on a label: ``=``, ``!=``, ``in``, ``notin``, ``exists`` or ``!``."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Filter:
    """Which instances; None = any. `accounts` are those whose rows are seen, `name_part` is a piece of the name."""

    accounts: Sequence[str]
    bk_biz_id: int | None = None
    bk_module_id: int | None = None
    bk_host_ids: Sequence[int] | None = None
    ids: Sequence[int] | None = None
    names: Sequence[str] | None = None
    name_part: str = ""
    labels: Sequence[Label] = ()
    after_id: int | None = None


ORDERS: Final = ("id", "-id", "name", "-name", "create_time", "-create_time", "last_time", "-last_time")
"""By what a listing may be sorted."""
_HEAD: Final = (
    "s.id, s.name, s.bk_biz_id, s.bk_module_id, s.bk_host_id, s.service_template_id, s.labels, s.creator, s.modifier,"
    " s.create_time, s.last_time, s.bk_supplier_account"
)
_BIND_INFO: Final = """
(SELECT coalesce(json_agg(row_to_json(b)), '[]') FROM (
    SELECT template_row_id, ip, port, protocol, enable FROM process_bind_info r
    WHERE r.bk_process_id = p.bk_process_id ORDER BY position, template_row_id OFFSET 0
) AS b) AS bind_info"""
_PROCESS: Final = ", ".join(f'p."{name}"' for name in PROCESS_PROPERTIES)
_RELATION: Final = (
    "p.bk_biz_id, p.bk_process_id, p.service_instance_id, p.process_template_id, p.bk_host_id, p.bk_supplier_account"
)
_VALUES: Final = f"""
p.bk_process_id, p.bk_biz_id, p.bk_supplier_account, p.create_time, p.last_time, p.bk_created_by, {_PROCESS},
{_BIND_INFO}"""


def _processes(name: str) -> str:
    return f"""
(SELECT coalesce(json_agg(json_build_object(
    '{name}', (SELECT row_to_json(v) FROM (SELECT {_VALUES}) AS v),
    'relation', (SELECT row_to_json(r) FROM (SELECT {_RELATION}) AS r)
) ORDER BY p.bk_process_id), '[]') FROM process p WHERE p.service_instance_id = s.id)"""  # noqa: S608 - our own names


_DETAIL: Final = f"{_HEAD}, {_processes('process')} AS process_instances"
_CMDB_ID: Final = "(SELECT l.cmdb_id FROM cmdb_instance l WHERE l.service_instance_id = s.id) AS cmdb_id"
_V1: Final = f"{_DETAIL}, s.request_id, {_CMDB_ID}"
SHAPES: Final = {"head": _HEAD, "detail": _DETAIL, "v1": _V1}


_IS_GONE: Final = "EXISTS (SELECT FROM cmdb_instance l WHERE l.service_instance_id = s.id AND l.gone_at IS NOT NULL)"
_HOSTS_WITHOUT: Final = f"""
SELECT r.bk_host_id FROM module_host_relation r JOIN module m USING (bk_module_id)
WHERE m.bk_supplier_account = ANY ($1::text[]) AND m.bk_biz_id = $2::bigint AND m.bk_module_id = $3::bigint
    AND ($4::bigint[] IS NULL OR r.bk_host_id = ANY ($4::bigint[])) AND r.bk_host_id > $5::bigint
    AND NOT EXISTS (
        SELECT FROM service_instance s
        WHERE s.bk_module_id = r.bk_module_id AND s.bk_host_id = r.bk_host_id AND NOT {_IS_GONE}
    )
ORDER BY 1 LIMIT $6::bigint"""  # noqa: S608 - our own names


class _Conditions:
    """The conditions of a filter as SQL, and their arguments."""

    def __init__(self, wanted: Filter) -> None:
        self.arguments: list[Any] = []
        self.terms = [f"NOT {_IS_GONE}"]
        self._add("s.bk_supplier_account = ANY ({}::text[])", list(wanted.accounts))
        for column, value in (("bk_biz_id", wanted.bk_biz_id), ("bk_module_id", wanted.bk_module_id)):
            if value is not None:
                self._add(f"s.{column} = {{}}::bigint", value)
        for column, values in (("bk_host_id", wanted.bk_host_ids), ("id", wanted.ids)):
            if values is not None:
                self._add(f"s.{column} = ANY ({{}}::bigint[])", list(values))
        if wanted.names is not None:
            self._add("s.name = ANY ({}::text[])", list(wanted.names))
        if wanted.name_part:
            self._add("strpos(s.name, {}::text) > 0", wanted.name_part)
        if wanted.after_id is not None:
            self._add("s.id > {}::bigint", wanted.after_id)
        for label in wanted.labels:
            self._label(label)

    @property
    def where(self) -> str:
        return " AND ".join(self.terms)

    def _add(self, term: str, *values: Any) -> None:
        places = []
        for value in values:
            self.arguments.append(value)
            places.append(f"${len(self.arguments)}")
        self.terms.append(term.format(*places))

    def _label(self, label: Label) -> None:
        has = "coalesce(s.labels ? {}::text, false)"
        is_one = "coalesce(s.labels ->> {}::text = ANY ({}::text[]), false)"
        if label.operator in ("exists", "!"):
            self._add(has if label.operator == "exists" else f"NOT {has}", label.key)
        else:
            self._add(is_one if label.operator in ("=", "in") else f"NOT {is_one}", label.key, list(label.values))


async def list_instances(
    engine: AsyncEngine, wanted: Filter, *, shape: str, order: str = "id", start: int = 0, limit: int | None = None
) -> list[str]:
    """Each instance as a JSON text.

    `shape` is one of `SHAPES`, `order` of `ORDERS`; `start` are left out, and `limit` None is all.

    Raises:
        DatabaseError: the database could not be read.
    """
    conditions = _Conditions(wanted)
    column, direction = order.lstrip("-"), "DESC" if order.startswith("-") else "ASC"
    by = f"s.{column} {direction}" if column == "id" else f"s.{column} {direction}, s.id {direction}"
    count = len(conditions.arguments)
    sql = f"""
SELECT (SELECT row_to_json(one) FROM (SELECT {SHAPES[shape]}) AS one)::text
FROM (SELECT * FROM service_instance s WHERE {conditions.where} ORDER BY {by}
      OFFSET ${count + 1}::bigint LIMIT ${count + 2}::bigint) AS s
ORDER BY {by}"""  # noqa: S608 - our own names; what a caller sent is an argument
    async with driver_connection(engine) as driver:
        return [row for (row,) in await driver.fetch(sql, *conditions.arguments, start, limit)]


async def count_instances(engine: AsyncEngine, wanted: Filter) -> int:
    """How many `wanted` selects; raises as `list_instances`."""
    conditions = _Conditions(wanted)
    sql = f"SELECT count(*) FROM service_instance s WHERE {conditions.where}"  # noqa: S608 - as above
    async with driver_connection(engine) as driver:
        return int(await driver.fetchval(sql, *conditions.arguments))


async def list_processes(engine: AsyncEngine, wanted: Filter) -> str | None:
    """The processes of the one instance that `wanted` selects, as the JSON text of CMDB's ``list_process_instance``."""
    conditions = _Conditions(wanted)
    sql = f"SELECT {_processes('property')}::text FROM service_instance s WHERE {conditions.where}"  # noqa: S608 - as above
    async with driver_connection(engine) as driver:
        found: str | None = await driver.fetchval(sql, *conditions.arguments)
    return found


async def hosts_without_instance(engine: AsyncEngine, wanted: Filter, *, limit: int | None = None) -> list[int]:
    """The hosts of a module that have no service instance there, ids ascending; raises as `list_instances`.

    `wanted` is a business, its module, and hosts among its own; `after_id` is a host here.
    """
    asked = (list(wanted.accounts), wanted.bk_biz_id, wanted.bk_module_id, wanted.bk_host_ids, wanted.after_id or 0)
    async with driver_connection(engine) as driver:
        return [id_ for (id_,) in await driver.fetch(_HOSTS_WITHOUT, *asked, limit)]
