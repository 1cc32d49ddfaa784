"""Read the catalogue for people: what there is of each business, and what one module holds."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, literal, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.postgres.cmdb_tables import (
    catalogue_version,
    host,
    module,
    module_host_relation,
    process_template,
    service_template,
)


@dataclass(frozen=True, slots=True)
class CatalogueSummary:
    """The catalogue's version, the number of hosts, and for each business how many rows each table has of it."""

    version: int
    changed_at: Any
    hosts: int
    businesses: Mapping[int, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class ModuleSummary:
    """A module with the names around it. `service_template_name` is None when unbound or when the template is gone."""

    bk_module_id: int
    bk_module_name: str
    bk_biz_id: int
    default: int
    service_template_id: int
    service_template_name: str | None
    hosts: int


async def read_summary(connection: AsyncConnection) -> CatalogueSummary:
    """Count what the catalogue holds."""
    version, changed_at = (
        await connection.execute(select(catalogue_version.c.version, catalogue_version.c.changed_at))
    ).one()
    hosts = (await connection.execute(select(func.count()).select_from(host))).scalar_one()
    counts = [
        select(literal(table.name), table.c.bk_biz_id, func.count()).group_by(table.c.bk_biz_id)
        for table in (service_template, process_template, module, module_host_relation)
    ]
    businesses: dict[int, dict[str, int]] = defaultdict(dict)
    for name, bk_biz_id, number in await connection.execute(union_all(*counts)):
        businesses[bk_biz_id][name] = number
    return CatalogueSummary(version, changed_at, hosts, dict(sorted(businesses.items())))


async def read_module(connection: AsyncConnection, bk_module_id: int) -> ModuleSummary | None:
    """Return one module, or None when the catalogue does not have it."""
    hosts = (
        select(func.count())
        .where(module_host_relation.c.bk_module_id == module.c.bk_module_id)
        .correlate(module)
        .scalar_subquery()
    )
    query = (
        select(
            module.c.bk_module_id,
            module.c.bk_module_name,
            module.c.bk_biz_id,
            module.c.default,
            module.c.service_template_id,
            service_template.c.name,
            hosts,
        )
        .outerjoin_from(module, service_template, service_template.c.id == module.c.service_template_id)
        .where(module.c.bk_module_id == bk_module_id)
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else ModuleSummary(*row)
