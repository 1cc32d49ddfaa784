"""Bring a database to the newest schema."""

import asyncio
from typing import Any, Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from worker.postgres.engine import create_engine, driver_connection
from worker.postgres.errors import DatabaseError, DatabaseUnsuitable, typed_errors
from worker.postgres.fitness import MIGRATIONS, require_known, require_suitable_server

ADVISORY_LOCK: Final = 0x626B7369  # "bksi"
"""Session-level lock that lets one upgrade run at a time; the others wait and then find nothing left to do."""
_NO_OWNER: Final = ("42501", "3F000")
"""What PostgreSQL says to a role that may not create a table, and where the role's search_path names no schema."""


def upgrade(dsn: str) -> None:
    """Run every outstanding migration; concurrent calls are harmless.

    Args:
        dsn: libpq URL of the database (``postgresql://user@host/name``).

    Raises:
        DatabaseError: as `upgrade_async` does.
    """
    asyncio.run(upgrade_async(dsn))


async def upgrade_async(dsn: str) -> None:
    """Like `upgrade`, for callers that already run an event loop.

    Raises:
        DatabaseUnsuitable: a newer version made the schema, or a pooler is in the way.
        DatabaseError: the database cannot be reached, or refuses; each migration is done as a whole or not at all.
    """
    # A migration may rewrite a large table, so it is not held to the workers' statement time-out.
    options: Any = {"connections": 1, "statement_timeout_ms": 0, "application_name": "bksi migrate", "writes": True}
    engine, spare = create_engine(dsn, **options), create_engine(dsn, **options)
    try:
        await require_suitable_server(engine, spare)
        await spare.dispose()
        async with driver_connection(engine) as driver:
            await require_known(driver)
        await _upgrade_as_owner(engine)
    finally:
        await spare.dispose()
        await engine.dispose()  # closing the session also frees the lock after a failure


async def _upgrade_as_owner(engine: AsyncEngine) -> None:
    try:
        with typed_errors():
            await _upgrade(engine)
    except DatabaseError as error:
        if error.sqlstate not in _NO_OWNER:
            raise
        raise DatabaseUnsuitable(
            f"the role may not make or change tables there (SQLSTATE {error.sqlstate}): let it own the database,"
            " ALTER DATABASE … OWNER TO …, and what is in it"
        ) from None


async def _upgrade(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        await connection.execute(select(func.pg_advisory_lock(ADVISORY_LOCK)))
        await connection.commit()
        await connection.run_sync(_run)
        await connection.commit()
        await connection.execute(select(func.pg_advisory_unlock(ADVISORY_LOCK)))
        await connection.commit()


def alembic_config() -> Config:
    """Where alembic finds the migrations."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return config


def _run(connection: Connection) -> None:
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
