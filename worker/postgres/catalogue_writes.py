"""Read, write and remove catalogue rows in sets, whatever the table: one statement for any number of rows.

The tables' triggers raise `catalogue_version` once per statement that changed a row, so a statement for each row would
also be a version for each row.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Integer, Table, Text, bindparam, or_, select, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeEngine

from worker.postgres.cmdb_tables import CATALOGUE_TABLES, catalogue_version

Key = tuple[int, ...]
Row = Mapping[str, Any]

_TABLES: Final[Mapping[str, Table]] = {table.name: table for table in CATALOGUE_TABLES}
_STAMP: Final = "imported_at"


async def lock_version(connection: AsyncConnection) -> int:
    """Return the catalogue's version and keep every other import out until the transaction ends."""
    query = select(catalogue_version.c.version).with_for_update()
    return int((await connection.execute(query)).scalar_one())


async def read_rows(connection: AsyncConnection, table: str, any_of: Mapping[str, Collection[int]]) -> dict[Key, Row]:
    """Return the rows in which at least one of the columns holds one of the values given for it, by primary key."""
    source = _TABLES[table]
    matches = [
        source.c[column] == _any(column, source.c[column].type, values) for column, values in any_of.items() if values
    ]
    if not matches:
        return {}
    columns = [column for column in source.c if column.name != _STAMP]
    result = await connection.execute(select(*columns).where(or_(*matches)))
    names = [column.name for column in columns]
    key = [names.index(column.name) for column in source.primary_key]
    return {tuple(row[index] for index in key): dict(zip(names, row, strict=True)) for row in result}


async def upsert_rows(connection: AsyncConnection, table: str, rows: Sequence[Row]) -> None:
    """Insert complete rows, or overwrite those that have the same primary key."""
    if not rows:
        return
    target = _TABLES[table]
    columns = [column for column in target.c if column.name != _STAMP]
    key = ", ".join(_quoted(column) for column in target.primary_key)
    names = ", ".join(map(_quoted, columns))
    casts = ", ".join(
        f"{_quoted(column)}::jsonb" if isinstance(column.type, JSONB) else _quoted(column) for column in columns
    )
    overwritten = [f"{_quoted(column)} = excluded.{_quoted(column)}" for column in columns if not column.primary_key]
    if _STAMP in target.c:
        overwritten.append(f"{_STAMP} = now()")
    sql = (
        f"INSERT INTO {target.name} ({names})"  # noqa: S608 - names of our own tables and columns
        f" SELECT {casts} FROM unnest({', '.join(f':{column.name}' for column in columns)}) AS new ({names})"
        f" ON CONFLICT ({key}) DO UPDATE SET {', '.join(overwritten)}"
    )
    parameters = [bindparam(column.name, type_=ARRAY(_array_type(column.type))) for column in columns]
    values = {column.name: [_value(column, row[column.name]) for row in rows] for column in columns}
    await connection.execute(text(sql).bindparams(*parameters), values)


async def delete_rows(connection: AsyncConnection, table: str, keys: Sequence[Key]) -> None:
    """Delete the rows with these primary keys."""
    if not keys:
        return
    target = _TABLES[table]
    columns = list(target.primary_key)
    names = ", ".join(map(_quoted, columns))
    arrays = ", ".join(f":{column.name}" for column in columns)
    sql = (
        f"DELETE FROM {target.name}"  # noqa: S608 - names of our own tables and columns
        f" WHERE ({names}) IN (SELECT * FROM unnest({arrays}))"
    )
    parameters = [bindparam(column.name, type_=ARRAY(BigInteger)) for column in columns]
    values = {column.name: [key[index] for key in keys] for index, column in enumerate(columns)}
    await connection.execute(text(sql).bindparams(*parameters), values)


def _any(name: str, type_: TypeEngine[Any], values: Collection[int]) -> Any:
    # One array parameter, however many values: a list of parameters ends at 32767.
    return bindparam(f"any_{name}", sorted(values), type_=ARRAY(type_)).any_()


def _quoted(column: Column[Any]) -> str:
    return '"default"' if column.name == "default" else column.name  # the one name that SQL reserves


def _array_type(type_: TypeEngine[Any]) -> type[TypeEngine[Any]]:
    for kind in (BigInteger, Integer):
        if isinstance(type_, kind):
            return kind
    return Text


def _value(column: Column[Any], value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(column.type, JSONB) else value
