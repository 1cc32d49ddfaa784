"""Whether a database can do what every request needs.

Asked when a worker or a reader starts, by `bksi migrate` and `bksi doctor`, and before a worker that PostgreSQL has
refused takes requests again.
"""

from functools import cache
from pathlib import Path
from typing import Any, Final

from worker.postgres import catalogue_reads, existing, insert
from worker.postgres.engine import Engine, driver_connection
from worker.postgres.errors import DatabaseUnavailable, DatabaseUnfit, DatabaseUnsuitable, SessionShared
from worker.postgres.tables import process_ids, service_instance_ids

MIGRATIONS: Final = Path(__file__).parent / "migrations"
_FORBIDDEN: Final = "42501"
_POOLED: Final = (
    "PostgreSQL is behind a pooler that lends a server for one transaction or statement: give bksi PostgreSQL itself,"
    " or a pool of its own with pool_mode = session"
)
_ENCODING: Final = "SELECT current_setting('server_encoding')"
_ENCODINGS: Final = ("UTF8", "SQL_ASCII")
"""Those that hold whatever JSON may: the second keeps the bytes of UTF-8 as they come."""
_HAS_SCHEMA: Final = "SELECT to_regclass('alembic_version') IS NOT NULL"
_MAY_LOOK: Final = "SELECT has_table_privilege('alembic_version', 'SELECT')"
_REVISION: Final = "SELECT version_num FROM alembic_version"
_MAY_NUMBER: Final = "SELECT has_sequence_privilege($1::text, 'USAGE')"


async def require_suitable(engine: Engine, spare: Engine) -> None:
    """What does not get better by waiting: the server is suitable, and the schema is this version's.

    Raises:
        DatabaseUnsuitable: one of both is not so; the text says what to do.
        DatabaseError: the database does not answer.
    """
    await require_suitable_server(engine, spare)
    async with driver_connection(spare) as driver:
        await _require_newest(driver)


async def require_suitable_server(engine: Engine, spare: Engine) -> None:
    """Whatever the schema: sessions are ours alone, and text of any language has room.

    Raises:
        DatabaseUnsuitable: one of both is not so; the text says what to do.
        DatabaseError: the database does not answer.
    """
    await _require_own_sessions(engine, spare)
    async with driver_connection(engine) as driver:
        await _require_encoding(driver)


async def _require_own_sessions(engine: Engine, spare: Engine) -> None:
    """Each connection is a session of its own for as long as it lives.

    A pooler that lends a server for each transaction shows by servers that two open connections share, or that change
    under one. With such a pooler no setting lasts, and prepared statements and locks are somebody else's. One that
    lends it for each statement refuses to begin a transaction, and says so.
    """
    try:
        async with driver_connection(engine) as first:
            try:
                async with driver_connection(spare) as second:
                    asked = (first, second, second, first)
                    seen = [await driver.fetchval("SELECT pg_backend_pid()") for driver in asked]
            except SessionShared:
                raise
            except DatabaseUnavailable:
                return  # there is one connection to be had and no more, which tells nothing
    except SessionShared:
        raise DatabaseUnsuitable(_POOLED) from None
    if seen[0] == seen[1] or seen[0] != seen[3] or seen[1] != seen[2]:
        raise DatabaseUnsuitable(_POOLED)


@cache
def known_revisions() -> tuple[str, ...]:
    """The revisions of the schema that this version knows, the newest first: what the migrations' files begin with.

    Alembic would say the same, but takes a tenth of a worker's start to load.
    """
    return tuple(sorted((file.name.partition("_")[0] for file in MIGRATIONS.glob("versions/[0-9]*.py")), reverse=True))


async def _require_encoding(driver: Any) -> None:
    encoding = await driver.fetchval(_ENCODING)
    if encoding not in _ENCODINGS:
        raise DatabaseUnsuitable(
            f"the database's encoding is {encoding}, which has no room for all text: make one with"
            " CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8'"
        )


async def require_known(driver: Any) -> str | None:
    """The revision of the schema; None when there is none.

    Raises:
        DatabaseUnsuitable: a newer version made it.
        DatabaseError: the database does not answer.
    """
    if not await driver.fetchval(_HAS_SCHEMA):
        return None
    revision: str | None = await driver.fetchval(_REVISION)
    if revision is not None and revision not in known_revisions():
        raise DatabaseUnsuitable(
            f"the database is at revision {revision}, made by a newer version than this one, which knows"
            f" {known_revisions()[0]} as the newest: update bksi on this machine"
        )
    return revision


async def rehearse(engine: Engine) -> None:
    """Have PostgreSQL go through each statement of a request with nothing in it.

    Raises:
        DatabaseError: what a request would be told now.
    """
    async with driver_connection(engine) as driver:
        await catalogue_reads.rehearse(driver)
        await existing.rehearse(driver)
        for sequence in (service_instance_ids, process_ids):
            if not await driver.fetchval(_MAY_NUMBER, sequence.name):
                raise DatabaseUnfit(_FORBIDDEN)
        await insert.rehearse(driver)


async def _require_newest(driver: Any) -> None:
    if await driver.fetchval(_HAS_SCHEMA) and not await driver.fetchval(_MAY_LOOK):
        return  # the rehearsal tells
    revision, newest = await require_known(driver), known_revisions()[0]
    if revision != newest:
        raise DatabaseUnsuitable(
            f"the database is at revision {revision or 'none'}, this version needs {newest}: run `bksi migrate`"
        )
