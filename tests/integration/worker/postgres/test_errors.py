import asyncpg
import pytest
from sqlalchemy import exc
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi as adapter

from worker.postgres.errors import (
    ConstraintViolated,
    DatabaseError,
    DatabaseUnavailable,
    DatabaseUnfit,
    NoWritableServer,
    SessionShared,
    SessionUnfit,
    StatementFailed,
    TransactionConflict,
    database_error,
    kind_of,
    spoils_session,
    typed_errors,
)


@pytest.mark.parametrize(
    ("sqlstate", "kind"),
    [
        ("40001", TransactionConflict),
        ("40P01", TransactionConflict),
        ("55P03", TransactionConflict),
        ("08000", DatabaseUnavailable),
        ("08006", DatabaseUnavailable),
        ("25P03", DatabaseUnavailable),
        ("57P04", DatabaseUnavailable),
        *((sqlstate, SessionUnfit) for sqlstate in ("0A000", "25006", "25P02")),
        *((sqlstate, SessionShared) for sqlstate in ("26000", "42P05")),
        *((sqlstate, DatabaseUnfit) for sqlstate in ("42501", "42703", "42P01", "28000", "3F000", "XX000", "XX001")),
        ("53100", DatabaseUnavailable),
        ("53300", DatabaseUnavailable),
        ("57014", DatabaseUnavailable),
        ("57P01", DatabaseUnavailable),
        ("57P03", DatabaseUnavailable),
        ("58030", DatabaseUnavailable),
        ("23505", ConstraintViolated),
        ("23514", ConstraintViolated),
        ("22001", StatementFailed),
        ("54000", StatementFailed),
        ("P0001", StatementFailed),
        ("", StatementFailed),
    ],
)
def test_sqlstate_decides_what_a_repetition_is_worth(sqlstate: str, kind: type[DatabaseError]) -> None:
    assert kind_of(sqlstate) is kind
    assert kind.is_retryable == issubclass(kind, (TransactionConflict, DatabaseUnavailable))
    assert kind.is_everybodys == issubclass(kind, (DatabaseUnfit, DatabaseUnavailable))
    assert spoils_session(sqlstate) == issubclass(kind, (DatabaseUnfit, SessionUnfit))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (asyncpg.InterfaceError("connection is closed"), DatabaseUnavailable),
        (asyncpg.InternalClientError("cannot switch to state 12"), DatabaseUnavailable),
        (asyncpg.TargetServerAttributeNotMatched("none"), NoWritableServer),
        (ConnectionRefusedError(), DatabaseUnavailable),
        (TimeoutError(), DatabaseUnavailable),
        (exc.TimeoutError("pool"), DatabaseUnavailable),
        (asyncpg.exceptions.DataError("canary"), StatementFailed),
        (asyncpg.exceptions._base.InterfaceError("another operation is in progress"), DatabaseUnavailable),
        (adapter.OperationalError("refused", ConnectionRefusedError()), DatabaseUnavailable),
        (adapter.InterfaceError("closed", asyncpg.InterfaceError("closed")), DatabaseUnavailable),
        (adapter.DataError("canary", asyncpg.exceptions.DataError("canary")), StatementFailed),
        (adapter.Error("nothing more"), StatementFailed),
        (exc.NoSuchColumnError("ours"), None),
        (ValueError("ours"), None),
    ],
)
def test_error_without_a_sqlstate_is_told_apart(error: Exception, kind: type[DatabaseError] | None) -> None:
    assert type(database_error(error)) is (kind or type(None))


@pytest.mark.bad_input(109, "a value in a driver's exception", "dropped, from the context too")
def test_text_of_the_original_is_dropped() -> None:
    with pytest.raises(StatementFailed) as caught, typed_errors():
        raise asyncpg.exceptions.DataError("canary")

    assert caught.value.__context__ is None
    assert "canary" not in str(caught.value)


def test_errors_that_are_not_the_databases_pass() -> None:
    with pytest.raises(KeyError), typed_errors():
        raise KeyError("ours")


def test_where_the_place_decides_the_sqlstate_is_kept() -> None:
    with pytest.raises(DatabaseUnavailable) as caught, typed_errors(every=DatabaseUnavailable):
        raise asyncpg.exceptions.InvalidCatalogNameError("canary")

    assert caught.value.sqlstate == "3D000"
    assert "canary" not in str(caught.value)
