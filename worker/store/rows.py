"""Read rows back as stored, as plain dicts in CMDB's names: what ``bksi show`` prints."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from worker.store.errors import typed_errors
from worker.store.tables import audit_log, process, process_bind_info, request_ledger, service_instance

Plain = dict[str, Any]


async def read_instance(engine: AsyncEngine, service_instance_id: int) -> Plain | None:
    """One service instance, None when there is none.

    The shape is that of one item of CMDB's ``list_service_instance_detail``: the columns of the instance, and
    ``process_instances``: a list of ``{"process": {…, "bind_info": [{…}]}, "relation": {…}}``, ids ascending.

    Raises:
        StoreError: the database could not be read.
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
        StoreError: the database could not be read.
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
    row = (await connection.execute(select(table).where(table.c.request_id == request_id))).one_or_none()
    return None if row is None else dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public way to a row's columns


async def _instances(connection: AsyncConnection, ids: Collection[int]) -> list[Plain]:
    instances = await _rows(connection, service_instance, "id", ids)
    processes = await _rows(connection, process, "service_instance_id", ids)
    binds = await _rows(connection, process_bind_info, "bk_process_id", [row["bk_process_id"] for row in processes])
    for row in processes:
        row["bind_info"] = [
            {name: bind[name] for name in ("template_row_id", "ip", "port", "protocol", "enable")}
            for bind in binds
            if bind["bk_process_id"] == row["bk_process_id"]
        ]
    for instance in instances:
        instance["process_instances"] = [
            {"process": row, "relation": _relation(row)}
            for row in processes
            if row["service_instance_id"] == instance["id"]
        ]
    return instances


async def _rows(connection: AsyncConnection, table: Table, column: str, ids: Collection[int]) -> list[Plain]:
    statement = select(table).where(table.c[column].in_(ids)).order_by(*table.primary_key)
    return [dict(row._mapping) for row in await connection.execute(statement)]  # noqa: SLF001 - as above


def _relation(row: Plain) -> Plain:
    """The row of the view `process_instance_relation`."""
    names = (
        *("bk_biz_id", "bk_process_id", "service_instance_id", "process_template_id"),
        *("bk_host_id", "bk_supplier_account"),
    )
    return {name: row[name] for name in names}
