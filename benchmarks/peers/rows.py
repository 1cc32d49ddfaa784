"""Rows ready to be inserted, and the two fastest ways to do it: COPY, and one statement of three inserts.

Service instances, processes and bind rows only: no audit record, no ledger, no look whether they exist.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from sqlalchemy.dialects import postgresql

from worker.expand.plan import Plan
from worker.postgres import tables
from worker.postgres.tables import PROCESS_PROPERTIES

_INSTANCE: Final = (
    *("id", "bk_biz_id", "bk_module_id", "bk_host_id", "instance_key", "service_template_id", "name"),
    *("creator", "modifier", "bk_supplier_account", "request_id"),
)
_PROCESS: Final = (
    *("bk_process_id", "service_instance_id", "bk_biz_id", "bk_host_id", "process_template_id"),
    *PROCESS_PROPERTIES,
    *("bk_created_by", "bk_supplier_account"),
)
_BIND: Final = ("bk_host_id", "bk_process_id", "template_row_id", "ip", "port", "protocol", "enable")
_TABLES: Final = (
    (tables.service_instance, _INSTANCE),
    (tables.process, _PROCESS),
    (tables.process_bind_info, _BIND),
)
_WHO: Final = ("benchmark", "0")


def _statement() -> str:
    parts, number = [], 1
    for table, columns in _TABLES:
        types = [table.c[name].type.compile(postgresql.dialect()) for name in columns]  # type: ignore[no-untyped-call]
        arrays = ", ".join(f"${position}::{type_}[]" for position, type_ in enumerate(types, number))
        names = ", ".join(f'"{name}"' for name in columns)
        parts.append(f"INSERT INTO {table.name} ({names}) SELECT * FROM unnest({arrays})")
        number += len(columns)
    return f"WITH a AS ({parts[0]}), b AS ({parts[1]}) {parts[2]}"


_STATEMENT: Final = _statement()


@dataclass(frozen=True)
class Rows:
    """What one request inserts, in the order of the tables' columns."""

    instances: list[tuple[Any, ...]] = field(default_factory=list)
    processes: list[tuple[Any, ...]] = field(default_factory=list)
    bind_rows: list[tuple[Any, ...]] = field(default_factory=list)

    def arguments(self) -> list[Sequence[Any]]:
        """One array per column, for `insert`."""
        return [
            column for rows in (self.instances, self.processes, self.bind_rows) for column in zip(*rows, strict=True)
        ]


class Ids:
    """Ids that are known beforehand: from a number on that no other process has."""

    def __init__(self, first: int = 1) -> None:
        self.instances = count(first)
        self.processes = count(first)

    def rows(self, plan: Plan, request_id: str) -> Rows:
        """The rows of a plan."""
        rows = Rows()
        for planned in plan.instances:
            id_, host = next(self.instances), planned.bk_host_id
            names = (planned.instance_key, plan.service_template_id, planned.name)
            who = (_WHO[0], *_WHO, request_id)
            rows.instances.append((id_, plan.bk_biz_id, plan.bk_module_id, host, *names, *who))
            for process in planned.processes:
                bk_process_id = next(self.processes)
                values = (process.values[name] for name in PROCESS_PROPERTIES)
                head = (bk_process_id, id_, plan.bk_biz_id, host, process.process_template_id)
                rows.processes.append((*head, *values, *_WHO))
                rows.bind_rows.extend((host, bk_process_id, *bind) for bind in process.bind_info)
        return rows


async def insert(connection: Any, arguments: Iterable[Sequence[Any]]) -> None:
    """One statement, which commits by itself."""
    await connection.fetch(_STATEMENT, *arguments)


async def copy(connection: Any, rows: Rows) -> None:
    """COPY into each table, in one transaction."""
    async with connection.transaction():
        for (table, columns), records in zip(_TABLES, (rows.instances, rows.processes, rows.bind_rows), strict=True):
            await connection.copy_records_to_table(table.name, records=records, columns=columns)
