"""Rows on their way to the database, with what many of them share sent once.

The processes that one template makes repeat most of their 26 columns on every host. So rows travel in groups: a column
that is the same in all rows of a group travels once, one that is not travels as often as there are rows, and ids travel
as lists. A wrong guess at what belongs into a group costs bytes and nothing else.

All rows of a table are one JSON argument: asyncpg takes a few microseconds for each argument that is an array, and some
for each value in it, where orjson takes a few for everything.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, Final

import orjson
from sqlalchemy import Table
from sqlalchemy.dialects import postgresql

from contract.answer.status import Outcome, ProcessItem, process_item
from worker.expand.plan import PlannedBind, PlannedProcess
from worker.postgres import tables
from worker.postgres.tables import PROCESS_PROPERTIES

Values = tuple[Any, ...]
Lists = Sequence[Sequence[Any]]
Groups = defaultdict[Hashable, list[tuple[Values, Lists]]]
"""Rows of one table; those under the same key are probably alike.

Each member stands for rows that have its values in all shared columns, and in the own ones what its lists, one for each
column, hold when the rows are sent.
"""


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
        shared: the columns in which rows of a group are mostly the same.
        own: the columns that each row has for itself, of type bigint or text and not null.
    """

    def __init__(self, table: Table, shared: Sequence[str], own: Sequence[str]) -> None:
        self.shared = shared
        self.own = own
        self.columns = (*shared, *own)
        self.types = {name: table.c[name].type.compile(postgresql.dialect()) for name in self.columns}  # type: ignore[no-untyped-call]
        self.as_text: Sequence[Callable[[Sequence[Any]], str]] = [
            bigint_array if self.types[name] == "BIGINT" else text_array for name in own
        ]

    def source(self, number: int) -> str:
        """``SELECT`` of all rows, given `argument` as parameter ``$number``; names are the table's."""
        shared = {name: self.types[name] for name in self.shared}
        either = ", ".join(f'coalesce(each."{name}", alike."{name}") AS "{name}"' for name in shared)
        lists = ", ".join(f'unnest(alike."{name}"::{self.types[name]}[])' for name in self.own)
        given = shared | dict.fromkeys(self.own, "text") | {"differing": "json"}
        return f"""
    SELECT {either}, {quoted(self.own, "each")}
    FROM json_to_recordset(${number}::text::json) AS alike ({typed(given)})
    CROSS JOIN LATERAL ROWS FROM ({lists}, json_to_recordset(alike.differing) AS ({typed(shared)}))
        AS each ({quoted((*self.own, *shared))})"""  # noqa: S608 - only our own column names

    def argument(self, groups: Groups) -> str:
        """What `source` takes."""
        return orjson.dumps([self._sent(members) for members in groups.values()]).decode()

    def _sent(self, members: Sequence[tuple[Values, Lists]]) -> dict[str, Any]:
        values, lists = zip(*members, strict=True)
        own = lists[0] if len(lists) == 1 else [list(chain(*column)) for column in zip(*lists, strict=True)]
        texts = [text(column) for text, column in zip(self.as_text, own, strict=True)]
        sent = dict(zip(self.columns, (*values[0], *texts), strict=True))
        if values.count(values[0]) < len(values):
            each = self._differing(values)
            sent |= dict.fromkeys(each[0])
            sent["differing"] = [row for row, its in zip(each, lists, strict=True) for _ in its[0]]
        return sent

    def _differing(self, values: Sequence[Values]) -> Sequence[dict[str, Any]]:
        """Those columns that are not the same everywhere."""
        columns = dict(zip(self.shared, zip(*values, strict=True), strict=True))
        found = {name: column for name, column in columns.items() if column.count(column[0]) < len(column)}
        return [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]


INSTANCES: Final = Layout(
    tables.service_instance,
    ("bk_biz_id", "bk_module_id", "service_template_id", "creator", "bk_supplier_account", "request_id"),
    ("id", "bk_host_id", "instance_key", "name"),
)
PROCESSES: Final = Layout(
    tables.process,
    ("bk_biz_id", "bk_created_by", "bk_supplier_account", "process_template_id", *PROCESS_PROPERTIES),
    ("bk_process_id", "service_instance_id", "bk_host_id"),
)
BIND_ROWS: Final = Layout(
    tables.process_bind_info,
    ("template_row_id", "ip", "port", "protocol", "enable", "position"),
    ("bk_host_id", "bk_process_id"),
)
_property_values: Final = itemgetter(*PROCESS_PROPERTIES)


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

    def rows(self, shared: Values, processes: Groups, bind_rows: "BindLists") -> None:
        """Add the rows; `shared` are the values of what the processes of one caller in one business have in common."""
        for place, process in enumerate(self.processes):
            ids = self._ids[place :: len(self.processes)]
            group = *shared, process.process_template_id, process.bk_process_name
            values = *shared, process.process_template_id, *_property_values(process.values)
            processes[group].append((values, (ids, self._instances, self._hosts)))
            lists = bind_rows[group, process.bind_info]
            lists[0].extend(self._hosts)
            lists[1].extend(ids)


BindLists = defaultdict[tuple[Values, tuple[PlannedBind, ...]], tuple[list[int], list[int]]]
"""Hosts and ids of the processes that have the same bind rows, by what they are alike in."""


class NewRows:
    """What one transaction inserts."""

    def __init__(self) -> None:
        self.instances = Groups(list)
        self.bind_rows = Groups(list)
        self._lists: list[tuple[Values, NewList]] = []

    def new_list(self, bk_biz_id: int, who: tuple[str, str], processes: Sequence[PlannedProcess]) -> NewList:
        """A process list for instances of one business, created by user `who` (name, account)."""
        new = NewList(processes)
        self._lists.append(((bk_biz_id, *who), new))
        return new

    def arguments(self) -> tuple[str, str, str]:
        """Of instances, processes and bind rows, for `Layout.source`. Call it once."""
        processes, binds = Groups(list), BindLists(lambda: ([], []))
        for shared, new in self._lists:
            new.rows(shared, processes, binds)
        for (group, bind_info), lists in binds.items():
            for position, row in enumerate(bind_info):
                self.bind_rows[*group, position].append(((*row, position), lists))
        return INSTANCES.argument(self.instances), PROCESSES.argument(processes), BIND_ROWS.argument(self.bind_rows)
