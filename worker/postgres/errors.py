"""What can go wrong in the database, as facts whose text carries no value of any row.

asyncpg and SQLAlchemy put keys and parameters into their messages; nothing of that may reach a log, an envelope or a
traceback. So their errors are replaced here, and only the SQLSTATE and the constraint's name are kept.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import asyncpg
from sqlalchemy import exc


class DatabaseError(Exception):
    """The database did not do what was asked; nothing was written, or whether it was is told by the ledger.

    `sqlstate` is PostgreSQL's five characters, empty when the server said nothing; `constraint` names the constraint
    that was violated, if one was.
    """

    is_retryable = False
    """Whether the same call may succeed in a moment."""
    is_everybodys = False
    """Whether any other request would have met it as well, so that it is no request's own doing."""

    def __init__(self, sqlstate: str = "", constraint: str = "") -> None:
        detail = " ".join(filter(None, (sqlstate and f"SQLSTATE {sqlstate}", constraint)))
        fact = (type(self).__doc__ or "").partition(".")[0].partition("\n")[0]
        said = f"{fact} ({detail})" if detail else fact
        mend = _MENDS.get(sqlstate)
        super().__init__(f"{said}: {mend}" if mend else said)
        self.sqlstate = sqlstate
        self.constraint = constraint


class DatabaseUnavailable(DatabaseError):
    """The database cannot be reached, has no room, or did not answer in time.

    Worth repeating after a pause. A commit whose answer was lost ends here too: the repetition finds the ledger's row.
    """

    is_retryable = True
    is_everybodys = True


class NoConnection(DatabaseUnavailable):
    """No connection is to be had. The text says what the system, or the other side's certificate, has against it."""

    def __init__(self, why: str) -> None:
        super().__init__()
        self.args = (f"it cannot be reached: {why}",)


class SessionUnfit(DatabaseUnavailable):
    """This session cannot do what a new one may.

    It is on a server that became a standby, its settings changed, or somebody else used it too. It is closed.
    """


class SessionShared(SessionUnfit):
    """The session's server is lent to others, too, as a pooler of transactions or statements does."""


class NoWritableServer(DatabaseUnavailable):
    """No server that the DSN names takes writes: a standby, or default_transaction_read_only is on."""


class DatabaseUnfit(DatabaseError):
    """The database refuses what every request needs.

    Rights, tables, columns that are not there; an error inside PostgreSQL. Repeating does not help until somebody has
    mended it.
    """

    is_everybodys = True


class DatabaseUnsuitable(DatabaseUnfit):
    """What was configured cannot work, with the sentence that says why and what does."""

    def __init__(self, why: str) -> None:
        super().__init__()
        self.args = (why,)


class TransactionConflict(DatabaseError):
    """Another transaction was in the way.

    Worth repeating at once: a deadlock, a serialization failure, a lock that was not to be had.
    """

    is_retryable = True


class ConstraintViolated(DatabaseError):
    """A row breaks a constraint of the schema."""


class StatementFailed(DatabaseError):
    """The database refused a statement."""


# By SQLSTATE, the longest prefix decides. Our statements are fixed and carry values as parameters only, so what
# PostgreSQL says of a statement itself (class 42) it would say to every request.
_KINDS: Final[dict[str, type[DatabaseError]]] = {
    "08": DatabaseUnavailable,  # connection exception
    "0A": SessionUnfit,  # a kept plan that fits its table no more
    "23": ConstraintViolated,
    "25": SessionUnfit,  # read-only: a primary that became a standby; a transaction that nobody has ended
    "25P03": DatabaseUnavailable,  # idle in transaction for too long
    "26": SessionShared,  # a prepared statement that is not there
    "28": DatabaseUnfit,  # the role may not be here
    "3D": DatabaseUnfit,  # no such database
    "3F": DatabaseUnfit,  # no such schema
    "42": DatabaseUnfit,  # no right, no table, no column
    "42P05": SessionShared,  # a prepared statement that is there already
    "40": TransactionConflict,  # serialization failure, deadlock, …
    "53": DatabaseUnavailable,  # out of disk, memory or connections
    "55P03": TransactionConflict,  # lock not available
    "57014": DatabaseUnavailable,  # statement time-out
    "57P01": DatabaseUnavailable,  # admin shutdown, pg_terminate_backend
    "57P02": DatabaseUnavailable,  # crash shutdown
    "57P03": DatabaseUnavailable,  # cannot connect now
    "57P04": DatabaseUnavailable,  # the database was dropped
    "57P05": DatabaseUnavailable,  # idle session time-out
    "58": DatabaseUnavailable,  # system error outside PostgreSQL
    "F0": DatabaseUnfit,  # its configuration file
    "XX": DatabaseUnfit,  # internal error, corrupted data
}
_OF_STATEMENTS: Final = "in statement pooling mode"
"""PgBouncer says so of a BEGIN, under the SQLSTATE of a lost connection."""
_MENDS: Final = {
    "25006": "it is read-only or a standby; point BKSI_POSTGRES_DSN at the primary",
    "28000": "pg_hba.conf does not let this role in from here, or wants TLS",
    "28P01": "the user or the password is wrong",
    "3D000": "there is no such database",
    "3F000": "run `bksi migrate`",
    "42501": "grant the role SELECT, INSERT, UPDATE and DELETE on all tables and USAGE on all sequences",
    "42703": "run `bksi migrate`",
    "42P01": "run `bksi migrate`",
    "53100": "make room on its disk",
    "53300": "raise max_connections, or lower BKSI_DATABASE_CONNECTIONS",
}


def kind_of(sqlstate: str) -> type[DatabaseError]:
    """The error class that stands for a SQLSTATE."""
    return next((_KINDS[sqlstate[:n]] for n in (5, 2) if sqlstate[:n] in _KINDS), StatementFailed)


def database_error(error: BaseException) -> DatabaseError | None:
    """What a driver's or SQLAlchemy's error means; None when it is neither."""
    if isinstance(error, exc.DBAPIError) and error.orig is not None:
        return database_error(error.orig) or StatementFailed()
    if isinstance(error, exc.EmulatedDBAPIException):  # what SQLAlchemy's adapter raises for asyncpg's
        return (None if error.orig is None else database_error(error.orig)) or StatementFailed()
    if isinstance(error, asyncpg.PostgresError):
        sqlstate = error.sqlstate or ""
        kind = SessionShared if _OF_STATEMENTS in str(error) else kind_of(sqlstate)
        return kind(sqlstate, getattr(error, "constraint_name", None) or "")
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return NoWritableServer()
    if isinstance(error, asyncpg.InternalClientError):
        # The server said something unasked, as it does before it hangs up, and asyncpg can't go on from there.
        return DatabaseUnavailable()
    if isinstance(error, asyncpg.InterfaceError):
        # A ValueError here is an argument that could not be sent; all else is a connection that is gone or unusable.
        return StatementFailed() if isinstance(error, ValueError) else DatabaseUnavailable()
    # Not SQLAlchemy's own mistakes (a wrong column …): those are ours to see in full.
    if isinstance(error, (exc.TimeoutError, exc.DisconnectionError, OSError, TimeoutError)):
        return DatabaseUnavailable()
    return None


def spoils_session(sqlstate: str) -> bool:
    """Whether a session that said this may go on saying it when a new one no longer does."""
    return issubclass(kind_of(sqlstate), (SessionUnfit, DatabaseUnfit))


def is_retryable(error: Exception) -> bool:
    """Whether the same call may succeed in a moment."""
    return isinstance(error, DatabaseError) and error.is_retryable


def is_everybodys(error: Exception) -> bool:
    """Whether PostgreSQL would have failed any other request, too."""
    return isinstance(error, DatabaseError) and error.is_everybodys


@contextmanager
def typed_errors(every: type[DatabaseError] | None = None) -> Iterator[None]:
    """Replace database errors by `DatabaseError`; the original is dropped, for its text holds values.

    `every` is what a database error means here, whatever its SQLSTATE says.

    Raises:
        DatabaseError: one of its subclasses.
    """
    try:
        yield
    except Exception as error:
        typed = database_error(error)
        if typed is None:
            raise
        if every is not None and not isinstance(typed, every):
            typed = every(typed.sqlstate, typed.constraint)
        try:
            raise typed from None
        except DatabaseError:
            typed.__context__ = None  # `from None` only hides it
            raise
