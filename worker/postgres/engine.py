"""The async engine: SQLAlchemy owns the connections, asyncpg speaks, and every wait is bounded."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import asyncpg
from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from contract.settings import Settings
from plumbing.outages import Outage
from plumbing.urls import unreadable_file
from worker.metrics import POSTGRES_SECONDS
from worker.postgres.errors import DatabaseUnavailable, DatabaseUnsuitable, NoConnection, spoils_session, typed_errors

Engine = AsyncEngine
"""What other rooms hold of the database; only this one knows its library."""
Connection = AsyncConnection
"""Of an `Engine`."""

# After these nobody knows what the server will say next on the connection; a time-out is an OSError.
_OUT_OF_STEP: Final = (OSError, asyncio.CancelledError, asyncpg.InternalClientError)


def create_engine(
    dsn: str,
    *,
    connections: int = 4,
    pool_timeout_s: float = 10.0,
    statement_timeout_ms: int = 30_000,
    application_name: str = "bksi worker",
    outage: Outage | None = None,
    read_only: bool = False,
    writes: bool = False,
    told: Callable[[float], object] | None = None,
) -> AsyncEngine:
    """Make an engine; it connects on first use and belongs to the event loop that uses it first.

    Args:
        dsn: libpq URL (asyncpg reads it, so ``sslmode``, ``host=/socket/dir`` and the like work).
        connections: the most that are open at once; there is no overflow.
        pool_timeout_s: how long a caller waits for a free one before `sqlalchemy.exc.TimeoutError`.
        statement_timeout_ms: the server ends a longer statement; the client gives up a second later, so that a server
            that cannot be heard is noticed too. 0 = no limit on either side.
        application_name: what ``pg_stat_activity`` shows.
        outage: is told when the server takes no connection, and when it does again.
        read_only: the server refuses to write, whatever the role may.
        writes: of the servers that `dsn` names, take the first that takes writes; unless `dsn` says another thing by
            its ``target_session_attrs``.
        told: is called with the seconds that each statement took.
    """
    settings = {
        "statement_timeout": str(statement_timeout_ms),
        # A worker that is frozen in mid-transaction must not keep its locks for longer than a statement may take.
        "idle_in_transaction_session_timeout": str(statement_timeout_ms),
        # Statistics taken while the tables are nearly empty make each backend plan its foreign-key checks as
        # sequential scans and keep that plan while the tables grow: 20 times slower, and getting worse.
        "enable_seqscan": "off",
        # Each statement is written for one plan that fits whatever it is given. Else every connection plans it anew
        # for its first five executions, and once more for a comparison.
        "plan_cache_mode": "force_generic_plan",
        # The statements are short; compiling one costs more than it saves.
        "jit": "off",
    }
    if read_only:
        settings["default_transaction_read_only"] = "on"
    # Not among the startup parameters, most of which a pooler refuses or drops without a word. One query and no
    # prepared statement, which a pooler may not know.
    setting = "; ".join(f"SET {name} = '{value}'" for name, value in settings.items())
    command_timeout = statement_timeout_ms / 1000 + 1 if statement_timeout_ms else None
    attributes: Any = "read-write" if writes and not _names_attributes(dsn) else None

    async def connect() -> asyncpg.Connection[Any]:
        with contextlib.nullcontext() if outage is None else outage.watched():
            return await open_connection()

    async def open_connection() -> asyncpg.Connection[Any]:
        with _usable(dsn):
            driver = await asyncpg.connect(
                dsn,
                server_settings={"application_name": application_name},
                timeout=pool_timeout_s,
                command_timeout=command_timeout,
                target_session_attrs=attributes,
                # Our statements are few and fixed: keep each prepared for as long as the connection lives.
                max_cached_statement_lifetime=0,
                max_cacheable_statement_size=0,
            )
        try:
            await driver.execute(setting, timeout=pool_timeout_s)
        except BaseException:
            driver.terminate()
            raise
        if told is not None:
            driver.add_query_logger(lambda query: _tell(told, query))
        return driver

    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=connect,
        hide_parameters=True,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=pool_timeout_s,
        pool_use_lifo=True,
        # Nothing is left to reset: a statement commits by itself, a transaction ends in `transaction`.
        pool_reset_on_return=None,
    )
    event.listen(engine.sync_engine, "checkout", _refuse_closed)
    return engine


def make_engine(settings: Settings, outage: Outage | None = None, *, connections: int | None = None) -> AsyncEngine:
    """The worker's engine, as the settings ask; with another number of `connections` where one is given."""
    return create_engine(
        settings.postgres_dsn,
        connections=connections or settings.database_connections,
        statement_timeout_ms=settings.statement_timeout_ms,
        outage=outage,
        writes=True,
        told=POSTGRES_SECONDS.observe,
    )


@asynccontextmanager
async def driver_connection(engine: AsyncEngine) -> AsyncIterator[asyncpg.Connection]:
    """A pooled connection as asyncpg's own; outside `transaction` each statement commits by itself.

    Raises:
        DatabaseError: in place of every database error inside the block. A connection that was left in mid-statement,
            or whose session would go on refusing, is closed and never used again.
        DatabaseUnavailable: there is no connection to be had, for whatever reason the server gives: a database that
            takes nobody in is away, and nothing that is asked of it can be at fault.
    """
    with typed_errors(every=DatabaseUnavailable):
        # Not `engine.connect()`, which takes five times as long to lend one.
        connection = await engine.raw_connection()
    with typed_errors():
        try:
            driver = connection.driver_connection
            if driver is None:
                raise DatabaseUnavailable
            try:
                yield driver
            except _OUT_OF_STEP:
                driver.terminate()
                raise
            except asyncpg.PostgresError as error:
                if spoils_session(error.sqlstate or ""):
                    driver.terminate()
                raise
        finally:
            connection.close()  # gives it back, at once: there is nothing to reset


async def clock(driver: asyncpg.Connection) -> datetime:
    """PostgreSQL's clock as it stands, whenever the transaction has begun."""
    moment: datetime = await driver.fetchval("SELECT clock_timestamp()")
    return moment


@asynccontextmanager
async def transaction(driver: asyncpg.Connection) -> AsyncIterator[None]:
    """BEGIN … COMMIT; ROLLBACK after an error, unless the server cannot be heard."""
    begun = driver.transaction()
    await begun.start()
    try:
        yield
    except _OUT_OF_STEP:
        raise  # the connection is about to be closed: a ROLLBACK would wait as long again
    except BaseException:
        await begun.rollback()
        raise
    else:
        await begun.commit()


@contextlib.contextmanager
def _usable(dsn: str) -> Iterator[None]:
    """What asyncpg says of a DSN with which there is no connection, with the fault alone: it names no password."""
    try:
        yield
    except OSError as error:  # first: a certificate that is not accepted is a ValueError as well
        if unreadable := unreadable_file(dsn):
            raise DatabaseUnsuitable(f"it cannot be used: {unreadable}") from None
        raise NoConnection(_words(error)) from None
    except asyncpg.ClientConfigurationError as error:
        raise DatabaseUnsuitable(f"it cannot be used: {error.args[0]}") from None
    except ValueError:
        raise DatabaseUnsuitable("it cannot be used: a port or an option in it is malformed") from None


def _words(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ConnectionError) and error.errno:
        return os.strerror(error.errno)  # asyncio puts addresses in its place
    return error.strerror or str(error) or type(error).__name__


def _tell(told: Callable[[float], object], query: Any) -> None:
    told(query.elapsed)


def _names_attributes(dsn: str) -> bool:
    """Whether somebody has said which servers are wanted, as libpq would read it."""
    return "target_session_attrs" in parse_qs(urlsplit(dsn).query) or "PGTARGETSESSIONATTRS" in os.environ


def _refuse_closed(dbapi_connection: Any, _record: object, _proxy: object) -> None:
    # Instead of a ping before each use: asyncpg knows when the server has closed the socket, at no round trip.
    if dbapi_connection.driver_connection.is_closed():
        raise DisconnectionError
