"""Bring a database to the newest schema."""

import asyncio
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, select

from worker.postgres.engine import create_engine

ADVISORY_LOCK: Final = 0x626B7369  # "bksi"
"""Session-level lock that lets one upgrade run at a time; the others wait and then find nothing left to do."""


def upgrade(dsn: str, revision: str = "head") -> None:
    """Run every outstanding migration; concurrent calls are harmless.

    Args:
        dsn: libpq URL of the database (``postgresql://user@host/name``).
        revision: the alembic revision to reach.
    """
    asyncio.run(upgrade_async(dsn, revision))


async def upgrade_async(dsn: str, revision: str = "head") -> None:
    """Like `upgrade`, for callers that already run an event loop."""
    # A migration may rewrite a large table, so it is not held to the workers' statement time-out.
    engine = create_engine(dsn, connections=1, statement_timeout_ms=0, application_name="bksi migrate")
    try:
        async with engine.connect() as connection:
            await connection.execute(select(func.pg_advisory_lock(ADVISORY_LOCK)))
            await connection.commit()
            await connection.run_sync(_run, revision)
            await connection.commit()
            await connection.execute(select(func.pg_advisory_unlock(ADVISORY_LOCK)))
            await connection.commit()
    finally:
        await engine.dispose()  # closing the session also frees the lock after a failure


def newest_revision() -> str:
    """The revision that `upgrade` reaches."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    assert revision is not None  # noqa: S101 - there is a first migration
    return revision


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


def _run(connection: Connection, revision: str) -> None:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
