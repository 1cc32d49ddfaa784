"""Rows on their way to the database, with the columns that many of them share kept once.

The processes that one template makes repeat 23 of their 26 columns on every host. So shared columns travel once per
shape, and only the columns that differ from row to row travel as lists. Rows that share nothing cost little more than
sent one by one.

All rows of a table are one JSON argument: asyncpg takes a few microseconds for each argument that is an array, and some
for each value in it, where orjson takes a few for everything.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import BigInteger, Table
from sqlalchemy.dialects import postgresql

from worker.store import tables


class AlikeRows:
    """Rows of one table.

    Args:
        table: whose columns they are.
        shared: the columns whose values make a row's shape.
        own: the columns that each row has for itself, of type bigint or text and not null.
    """

    def __init__(self, table: Table, shared: Sequence[str], own: Sequence[str]) -> None:
        self.table = table
        self.shared = shared
        self.own = own
        self._shapes: dict[tuple[Any, ...], tuple[list[Any], ...]] = {}

    def lists(self, shape: tuple[Any, ...]) -> tuple[list[Any], ...]:
        """The lists of the own columns of all rows of this shape; a row is added by appending to each."""
        lists = self._shapes.get(shape)
        if lists is None:
            lists = self._shapes[shape] = tuple([] for _ in self.own)
        return lists

    def add(self, shape: tuple[Any, ...], *own: Any) -> None:
        """Add one row."""
        for values, value in zip(self.lists(shape), own, strict=True):
            values.append(value)

    def __len__(self) -> int:
        return sum(len(lists[0]) for lists in self._shapes.values())

    def argument(self) -> str:
        """The argument of `source`."""
        texts = [bigint_array if isinstance(self.table.c[name].type, BigInteger) else _texts for name in self.own]
        return orjson.dumps(
            [
                dict(zip(self.shared, shape, strict=True))
                | {name: text(values) for name, text, values in zip(self.own, texts, lists, strict=True)}
                for shape, lists in self._shapes.items()
            ]
        ).decode()

    def source(self, number: int) -> str:
        """``SELECT`` of all rows, given `argument` as parameter ``$number``; names are the table's."""
        columns = {name: self.table.c[name].type.compile(postgresql.dialect()) for name in self.shared}  # type: ignore[no-untyped-call]
        lists = ", ".join(
            f'shape."{name}"::{"bigint" if isinstance(self.table.c[name].type, BigInteger) else "text"}[]'
            for name in self.own
        )
        return f"""
    SELECT {quoted(self.shared, "shape")}, {quoted(self.own, "own")}
    FROM {rows_of(number, columns | dict.fromkeys(self.own, "text"))} AS shape
    CROSS JOIN LATERAL unnest({lists})
        AS own ({quoted(self.own)})"""  # noqa: S608 - only our own column names


class NewRows:
    """What one transaction inserts."""

    def __init__(self) -> None:
        self.instances = AlikeRows(
            tables.service_instance,
            ("bk_biz_id", "bk_module_id", "service_template_id", "creator", "bk_supplier_account", "request_id"),
            ("id", "bk_host_id", "instance_key", "name"),
        )
        self.processes = AlikeRows(
            tables.process,
            ("bk_biz_id", "bk_created_by", "bk_supplier_account", "process_template_id", *tables.PROCESS_PROPERTIES),
            ("bk_process_id", "service_instance_id", "bk_host_id"),
        )
        self.bind_rows = AlikeRows(
            tables.process_bind_info,
            ("template_row_id", "ip", "port", "protocol", "enable"),
            ("bk_host_id", "bk_process_id"),
        )

    def tables(self) -> tuple[AlikeRows, AlikeRows, AlikeRows]:
        """Parents first."""
        return self.instances, self.processes, self.bind_rows


def rows_of(number: int, columns: Mapping[str, str]) -> str:
    """Parameter ``$number``, a JSON array of objects, as rows of these columns: their names and types."""
    typed = ", ".join(f'"{name}" {type_}' for name, type_ in columns.items())
    return f"(SELECT * FROM json_to_recordset(${number}::text::json) AS given ({typed}))"  # noqa: S608 - as above


def quoted(names: Sequence[str], source: str = "") -> str:
    """Column names as SQL, separated by commas."""
    prefix = source and f"{source}."
    return ", ".join(f'{prefix}"{name}"' for name in names)


def bigint_array(ids: Sequence[int]) -> str:
    """A list as PostgreSQL writes it: lists of different lengths cannot be nested in an array, their texts can."""
    return "{" + ",".join(map(str, ids)) + "}"


def _texts(values: Sequence[str]) -> str:
    escaped = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return "{" + ",".join(f'"{value}"' for value in escaped) + "}"
