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

    def __init__(self, sqlstate: str = "", constraint: str = "") -> None:
        detail = " ".join(filter(None, (sqlstate and f"SQLSTATE {sqlstate}", constraint)))
        fact = (type(self).__doc__ or "").partition(".")[0].partition("\n")[0]
        super().__init__(f"{fact} ({detail})" if detail else fact)
        self.sqlstate = sqlstate
        self.constraint = constraint


class DatabaseUnavailable(DatabaseError):
    """The database cannot be reached, has no room, or did not answer in time.

    Worth repeating after a pause. A commit whose answer was lost ends here too: the repetition finds the ledger's row.
    """

    is_retryable = True


class TransactionConflict(DatabaseError):
    """Another transaction was in the way.

    Worth repeating at once: a deadlock, a serialization failure, a lock that was not to be had.
    """

    is_retryable = True


class ConstraintViolated(DatabaseError):
    """A row breaks a constraint of the schema."""


class StatementFailed(DatabaseError):
    """The database refused a statement."""


# By SQLSTATE, the longest prefix decides.
_KINDS: Final[dict[str, type[DatabaseError]]] = {
    "08": DatabaseUnavailable,  # connection exception
    "23": ConstraintViolated,
    "25006": DatabaseUnavailable,  # read-only transaction: a primary that became a standby
    "25P03": DatabaseUnavailable,  # idle in transaction for too long
    "40": TransactionConflict,  # serialization failure, deadlock, …
    "53": DatabaseUnavailable,  # out of disk, memory or connections
    "55P03": TransactionConflict,  # lock not available
    "57014": DatabaseUnavailable,  # statement time-out
    "57P01": DatabaseUnavailable,  # admin shutdown, pg_terminate_backend
    "57P02": DatabaseUnavailable,  # crash shutdown
    "57P03": DatabaseUnavailable,  # cannot connect now
    "57P05": DatabaseUnavailable,  # idle session time-out
    "58": DatabaseUnavailable,  # system error outside PostgreSQL
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
        return kind_of(sqlstate)(sqlstate, getattr(error, "constraint_name", None) or "")
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


def is_retryable(error: Exception) -> bool:
    """Whether the same call may succeed later."""
    return isinstance(error, DatabaseError) and error.is_retryable


@contextmanager
def typed_errors(every: type[DatabaseError] | None = None) -> Iterator[None]:
    """Replace database errors by `DatabaseError`; the original is dropped, for its text holds values.

    Args:
        every: what a database error means here, whatever its SQLSTATE says.

    Raises:
        DatabaseError: one of its subclasses.
    """
    try:
        yield
    except Exception as error:
        typed = database_error(error)
        if typed is None:
            raise
        if every is not None:
            typed = every(typed.sqlstate, typed.constraint)
        try:
            raise typed from None
        except DatabaseError:
            typed.__context__ = None  # `from None` only hides it
            raise
