"""A schema of another version is told in one sentence by whatever would use it."""

import pytest

from tests.conftest import RunBksi, execute

OLDER = "the database is at revision 0002, this version needs"
NEWER = "the database is at revision 9999, made by a newer version than this one"


def _at(database: str, revision: str) -> None:
    execute(database, f"UPDATE alembic_version SET version_num = '{revision}'")


@pytest.mark.parametrize(("revision", "said"), [("0002", OLDER), ("9999", NEWER)])
def test_worker_does_not_start_on_it(redis_url: str, database: str, bksi: RunBksi, revision: str, said: str) -> None:
    _at(database, revision)

    done = bksi("worker", env={"BKSI_REDIS_URL": redis_url, "BKSI_POSTGRES_DSN": database})

    assert done.returncode == 1
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_worker_does_not_start_before_the_first_migration(redis_url: str, postgres_dsn: str, bksi: RunBksi) -> None:
    done = bksi("worker", env={"BKSI_REDIS_URL": redis_url, "BKSI_POSTGRES_DSN": postgres_dsn})

    assert done.returncode == 1
    assert "at revision none" in done.stderr.splitlines()[-1]
    assert "run `bksi migrate`" in done.stderr.splitlines()[-1]


def test_migrate_leaves_a_newer_one_alone(database: str, bksi: RunBksi) -> None:
    _at(database, "9999")

    done = bksi("migrate", env={"BKSI_POSTGRES_DSN": database})

    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert NEWER in line


@pytest.mark.parametrize(
    "dsn", ["postgresql://nobody@127.0.0.1:1/db", "postgresql://nobody@127.0.0.1:1,localhost:1/db"]
)
def test_migrate_says_in_one_line_that_it_reaches_none(bksi: RunBksi, dsn: str) -> None:
    done = bksi("migrate", env={"BKSI_POSTGRES_DSN": dsn})

    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "cannot be reached" in line
