"""Rows on their way to the database, with the columns that many of them share kept once.

The processes that one template makes repeat 23 of their 26 columns on every host. So shared columns travel once per
shape, and only the columns that differ from row to row travel as lists. Rows that share nothing cost little more than
sent one by one.

All rows of a table are one JSON argument: asyncpg takes a few microseconds for each argument that is an array, and some
for each value in it, where orjson takes a few for everything.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

import orjson
from sqlalchemy import BigInteger, Table
from sqlalchemy.dialects import postgresql

from contract.answer.items import Outcome, ProcessItem, process_item
from worker.expand.plan import PlannedProcess
from worker.postgres import tables

Shape = tuple[Any, ...]
Lists = tuple[list[Any], ...]


def rows_of(number: int, columns: Mapping[str, str]) -> str:
    """Parameter ``$number``, a JSON array of objects, as rows of these columns: their names and types."""
    return f"(SELECT * FROM json_to_recordset(${number}::text::json) AS given ({typed(columns)}))"  # noqa: S608 - only our own column names


def typed(columns: Mapping[str, str]) -> str:
    """Names and types of columns as SQL, separated by commas."""
    return ", ".join(f'"{name}" {type_}' for name, type_ in columns.items())


def quoted(names: Sequence[str], source: str = "") -> str:
    """Column names as SQL, separated by commas."""
    prefix = source and f"{source}."
    return ", ".join(f'{prefix}"{name}"' for name in names)


def bigint_array(ids: Sequence[int]) -> str:
    """A list as PostgreSQL writes it: lists of different lengths cannot be nested in an array, their texts can."""
    return f"{{{ids[0]}}}" if len(ids) == 1 else f"{{{orjson.dumps(ids)[1:-1].decode()}}}"


def text_array(values: Sequence[str]) -> str:
    """The same for texts."""
    inside = '","'.join(values)
    if "\\" in inside or inside.count('"') != 2 * (len(values) - 1):
        inside = '","'.join(value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return f'{{"{inside}"}}' if values else "{}"


class Layout:
    """How the rows of a table are sent.

    Args:
        table: whose columns they are.
        shared: the columns whose values make a row's shape.
        own: the columns that each row has for itself, of type bigint or text and not null.
    """

    def __init__(self, table: Table, shared: Sequence[str], own: Sequence[str]) -> None:
        self.table = table
        self.shared = shared
        self.own = own
        self.columns = (*shared, *own)
        self.as_text: Sequence[Callable[[Sequence[Any]], str]] = [
            bigint_array if isinstance(table.c[name].type, BigInteger) else text_array for name in own
        ]

    def source(self, number: int) -> str:
        """``SELECT`` of all rows, given `AlikeRows.argument` as parameter ``$number``; names are the table's."""
        columns = {name: self.table.c[name].type.compile(postgresql.dialect()) for name in self.shared}  # type: ignore[no-untyped-call]
        lists = ", ".join(
            f'shape."{name}"::{"bigint" if isinstance(self.table.c[name].type, BigInteger) else "text"}[]'
            for name in self.own
        )
        return f"""
    SELECT {quoted(self.shared, "shape")}, {quoted(self.own, "own")}
    FROM {rows_of(number, columns | dict.fromkeys(self.own, "text"))} AS shape
    CROSS JOIN LATERAL unnest({lists})
        AS own ({quoted(self.own)})"""  # noqa: S608 - as above


INSTANCES: Final = Layout(
    tables.service_instance,
    ("bk_biz_id", "bk_module_id", "service_template_id", "creator", "bk_supplier_account", "request_id"),
    ("id", "bk_host_id", "instance_key", "name"),
)
PROCESSES: Final = Layout(
    tables.process,
    ("bk_biz_id", "bk_created_by", "bk_supplier_account", "process_template_id", *tables.PROCESS_PROPERTIES),
    ("bk_process_id", "service_instance_id", "bk_host_id"),
)
BIND_ROWS: Final = Layout(
    tables.process_bind_info,
    ("template_row_id", "ip", "port", "protocol", "enable", "position"),
    ("bk_host_id", "bk_process_id"),
)
_property_values: Final = itemgetter(*tables.PROCESS_PROPERTIES)


class AlikeRows:
    """Rows of one table."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._shapes: dict[Shape, Lists] = {}

    def lists(self, shape: Shape) -> Lists:
        """The lists of the own columns of all rows of this shape; a row is added by appending to each."""
        lists = self._shapes.get(shape)
        if lists is None:
            lists = self._shapes[shape] = tuple([[] for _ in self._layout.own])
        return lists

    def argument(self) -> str:
        """The argument of `Layout.source`."""
        columns, as_text = self._layout.columns, self._layout.as_text
        return orjson.dumps(
            [
                dict(
                    zip(columns, (*shape, *[text(own) for text, own in zip(as_text, lists, strict=True)]), strict=True)
                )
                for shape, lists in self._shapes.items()
            ]
        ).decode()


class NewList:
    """One process list, under any number of service instances."""

    def __init__(self, processes: Sequence[PlannedProcess]) -> None:
        self.processes = processes
        self.row_count = sum(1 + len(process.bind_info) for process in processes)
        """Of one instance."""
        self._created = [
            process_item(Outcome.CREATED, process.process_template_id, process.bk_process_name) for process in processes
        ]
        self._instances: list[int] = []
        self._hosts: list[int] = []
        self._ids: list[int] = []

    def add(self, service_instance_id: int, bk_host_id: int, ids: Sequence[int]) -> list[ProcessItem]:
        """Add it under one instance; `ids` are those of its processes. Returns what the instance's item says."""
        self._instances.append(service_instance_id)
        self._hosts.append(bk_host_id)
        self._ids.extend(ids)
        return [{"bk_process_id": id_, **created} for id_, created in zip(ids, self._created, strict=True)]

    def rows(self, shared: Shape, processes: AlikeRows, bind_rows: AlikeRows) -> None:
        """Add the rows; `shared` are the values of what the processes of one caller in one business have in common."""
        for place, process in enumerate(self.processes):
            own = self._ids[place :: len(self.processes)]
            lists = processes.lists((*shared, process.process_template_id, *_property_values(process.values)))
            for values, new in zip(lists, (own, self._instances, self._hosts), strict=True):
                values.extend(new)
            for position, row in enumerate(process.bind_info):
                hosts, ids = bind_rows.lists((*row, position))
                hosts.extend(self._hosts)
                ids.extend(own)


class NewRows:
    """What one transaction inserts."""

    def __init__(self) -> None:
        self.instances = AlikeRows(INSTANCES)
        self.bind_rows = AlikeRows(BIND_ROWS)
        self._lists: list[tuple[Shape, NewList]] = []

    def new_list(self, bk_biz_id: int, who: tuple[str, str], processes: Sequence[PlannedProcess]) -> NewList:
        """A process list for instances of one business, created by user `who` (name, account)."""
        new = NewList(processes)
        self._lists.append(((bk_biz_id, *who), new))
        return new

    def arguments(self) -> tuple[str, str, str]:
        """Of instances, processes and bind rows, for `Layout.source`. Call it once."""
        processes = AlikeRows(PROCESSES)
        for shared, new in self._lists:
            new.rows(shared, processes, self.bind_rows)
        return self.instances.argument(), processes.argument(), self.bind_rows.argument()
