"""How a PostgreSQL server is set up, as far as it concerns us."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncEngine

from worker.postgres.cmdb_pulls import ages
from worker.postgres.deliveries import backlog
from worker.postgres.engine import clock, driver_connection
from worker.postgres.errors import DatabaseError
from worker.postgres.fitness import known_revisions

_NOT_THERE_YET: Final = ("42P01", "42703")
"""A table, a column."""
_DURABILITY: Final = ("fsync", "synchronous_commit", "full_page_writes")

_HIGHEST: Final = "SELECT greatest((SELECT max(cmdb_id) FROM cmdb_instance), (SELECT max(cmdb_id) FROM cmdb_process))"


@dataclass(frozen=True, slots=True)
class ServerHealth:
    """Facts about the server and about this connection. `revision` is None before the first migration."""

    version: int
    """As ``server_version_num``: 180003 is 18.3."""
    durability: Mapping[str, str]
    """``fsync``, ``synchronous_commit`` and ``full_page_writes``."""
    is_superuser: bool
    is_encrypted: bool
    is_standby: bool
    is_read_only: bool
    """Whether a transaction of this role is begun so that it may write nothing."""
    revision: str | None
    newest_revision: str
    modules: int
    """In the catalogue."""
    first_id: int
    """Ids of ours are at least this."""
    highest_cmdb_id: int
    """Of what was taken over from CMDB; 0 = nothing was."""
    ages: Mapping[tuple[int, str], float]
    """Seconds since each business was last read from CMDB, by business and what was read."""
    deliveries: Mapping[str, float]
    """What CMDB is still to have, as `deliveries.backlog` counts it."""


async def read_health(engine: AsyncEngine) -> ServerHealth:
    """Ask for all of it.

    Raises:
        DatabaseError: the server cannot be reached, or does not let us in.
    """
    async with driver_connection(engine) as driver:
        (row,) = await driver.fetch(
            "SELECT current_setting('server_version_num')::int, pg_is_in_recovery(),"
            " current_setting('default_transaction_read_only')::boolean,"
            " (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),"
            " (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid())"
        )
        durability = {name: await driver.fetchval("SELECT current_setting($1)", name) for name in _DURABILITY}
    version, is_standby, is_read_only, is_superuser, is_encrypted = row
    return ServerHealth(
        version,
        durability,
        bool(is_superuser),
        bool(is_encrypted),
        bool(is_standby),
        bool(is_read_only),
        await _one(engine, "SELECT version_num FROM alembic_version"),
        known_revisions()[0],
        await _one(engine, "SELECT count(*) FROM module") or 0,
        await _one(engine, "SELECT first_id FROM catalogue_version") or 1,
        await _one(engine, _HIGHEST) or 0,
        await _ages(engine),
        await _deliveries(engine),
    )


async def _ages(engine: AsyncEngine) -> dict[tuple[int, str], float]:
    if await _one(engine, "SELECT to_regclass('cmdb_pull')::text") is None:
        return {}
    async with driver_connection(engine) as driver:
        return await ages(driver)


async def _deliveries(engine: AsyncEngine) -> dict[str, float]:
    if await _one(engine, "SELECT to_regclass('delivery')::text") is None:
        return {"pending": 0, "failed": 0, "oldest_s": 0}
    async with driver_connection(engine) as driver:
        return await backlog(driver)


async def read_clock(engine: AsyncEngine) -> datetime:
    """The server's clock; raises `DatabaseError`."""
    async with driver_connection(engine) as driver:
        return await clock(driver)


async def _one(engine: AsyncEngine, query: str) -> Any:
    """The only value of a query; None when its table or column is not there yet."""
    try:
        async with driver_connection(engine) as driver:
            return await driver.fetchval(query)
    except DatabaseError as error:
        if error.sqlstate in _NOT_THERE_YET:
            return None
        raise
