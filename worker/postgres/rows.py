"""Read rows back as stored, as plain dicts in CMDB's names: what ``bksi show`` prints."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from worker.postgres.cmdb_tables import cmdb_gone, cmdb_instance
from worker.postgres.errors import typed_errors
from worker.postgres.tables import audit_log, process, process_bind_info, request_ledger, service_instance

Plain = dict[str, Any]

BIND_COLUMNS: Final = ("template_row_id", "ip", "port", "protocol", "enable")
RELATION_COLUMNS: Final = (
    *("bk_biz_id", "bk_process_id", "service_instance_id", "process_template_id"),
    *("bk_host_id", "bk_supplier_account"),
)
"""Those of the view `process_instance_relation`."""


async def read_instance(engine: AsyncEngine, service_instance_id: int) -> Plain | None:
    """One service instance, None when there is none.

    The shape is that of one item of CMDB's ``list_service_instance_detail``: the columns of the instance, and
    ``process_instances``: a list of ``{"process": {…, "bind_info": [{…}]}, "relation": {…}}``, ids ascending. ``cmdb``
    says what CMDB has of it, None when it is not known to have it: ``{"id": …, "gone_at": …, "gone": […]}``, the last
    one what CMDB had under it and has no more, as it was stored.

    Raises:
        DatabaseError: the database could not be read.
    """
    with typed_errors():
        async with engine.connect() as connection:
            found = await _instances(connection, [service_instance_id])
    return found[0] if found else None


async def read_request(engine: AsyncEngine, request_id: str) -> Plain | None:
    """What one request left behind, None when it has not ended, or never was.

    ``{"ledger": {…} | None, "audit": {…} | None, "service_instances": […]}``. ``ledger`` is without the report,
    ``audit`` is None when nothing was written, and ``service_instances`` are those that the request created or healed,
    each as `read_instance` gives it.

    Raises:
        DatabaseError: the database could not be read.
    """
    with typed_errors():
        async with engine.connect() as connection:
            ledger = await _one(connection, request_ledger, request_id)
            audit = await _one(connection, audit_log, request_id)
            if ledger is None and audit is None:
                return None
            ids = [*audit["created_ids"], *audit["healed_ids"]] if audit else []
            instances = await _instances(connection, ids)
    if ledger:
        del ledger["report"]
    return {"ledger": ledger, "audit": audit, "service_instances": instances}


async def _one(connection: AsyncConnection, table: Table, request_id: str) -> Plain | None:
    found = await connection.execute(select(table).where(table.c.request_id == request_id))
    row = found.mappings().one_or_none()
    return None if row is None else dict(row)


async def _instances(connection: AsyncConnection, ids: Collection[int]) -> list[Plain]:
    instances = await _rows(connection, service_instance, {"id": ids})
    processes = await _rows(connection, process, {"service_instance_id": ids})
    bind_rows = await _rows(
        connection,
        process_bind_info,
        {name: {row[name] for row in processes} for name in ("bk_host_id", "bk_process_id")},
    )
    under = defaultdict(list)
    for row in sorted(bind_rows, key=itemgetter("position", "template_row_id")):
        under[row["bk_process_id"]].append({name: row[name] for name in BIND_COLUMNS})
    pairs = defaultdict(list)
    for row in processes:
        relation = {name: row[name] for name in RELATION_COLUMNS}
        row["bind_info"] = under[row["bk_process_id"]]
        pairs[row["service_instance_id"]].append({"process": row, "relation": relation})
    in_cmdb = await _in_cmdb(connection, ids)
    for instance in instances:
        instance["process_instances"] = pairs[instance["id"]]
        instance["cmdb"] = in_cmdb.get(instance["id"])
    return instances


async def _in_cmdb(connection: AsyncConnection, ids: Collection[int]) -> dict[int, Plain]:
    wanted = {"service_instance_id": ids}
    gone = defaultdict(list)
    for row in await _rows(connection, cmdb_gone, wanted):
        gone[row["service_instance_id"]].append(row["content"])
    return {
        row["service_instance_id"]: {
            "id": row["cmdb_id"],
            "gone_at": row["gone_at"],
            "gone": gone[row["service_instance_id"]],
        }
        for row in await _rows(connection, cmdb_instance, wanted)
    }


async def _rows(connection: AsyncConnection, table: Table, wanted: Mapping[str, Collection[int]]) -> list[Plain]:
    conditions = [table.c[name].in_(values) for name, values in wanted.items()]
    statement = select(table).where(*conditions).order_by(*table.primary_key)
    return [dict(row) for row in (await connection.execute(statement)).mappings()]
