"""A schema of another version is told in one sentence by whatever would use it."""

import json
import subprocess
from collections.abc import Iterator

import pytest

from tests.conftest import RunBksi, execute

OLDER = "the database is at revision 0002, this version needs"
NEWER = "the database is at revision 9999, made by a newer version than this one"


def _at(database: str, revision: str) -> None:
    execute(database, f"UPDATE alembic_version SET version_num = '{revision}'")


def _last_event(done: subprocess.CompletedProcess[str]) -> str:
    """What the last line of a log says."""
    event: str = json.loads(done.stderr.splitlines()[-1])["event"]
    return event


BOTH = (("worker", "BKSI_POSTGRES_DSN"), ("read", "BKSI_READ_DSN"))


@pytest.mark.parametrize(("revision", "said"), [("0002", OLDER), ("9999", NEWER)])
def test_neither_worker_nor_reader_starts_on_it(
    redis_url: str, database: str, bksi: RunBksi, revision: str, said: str
) -> None:
    _at(database, revision)

    for command, setting in BOTH:
        done = bksi(command, env={"BKSI_REDIS_URL": redis_url, setting: database})

        assert done.returncode == 1
        assert said in _last_event(done)
        assert _last_event(done).startswith(f"bksi {command}: {setting} (postgresql://")
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("command", "setting"), BOTH)
def test_neither_starts_before_the_first_migration(
    redis_url: str, postgres_dsn: str, bksi: RunBksi, command: str, setting: str
) -> None:
    done = bksi(command, env={"BKSI_REDIS_URL": redis_url, setting: postgres_dsn})

    assert done.returncode == 1
    assert "at revision none" in _last_event(done)
    assert "run `bksi migrate`" in _last_event(done)


def test_migrate_leaves_a_newer_one_alone(database: str, bksi: RunBksi) -> None:
    _at(database, "9999")

    done = bksi("migrate", env={"BKSI_POSTGRES_DSN": database})

    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert NEWER in line


@pytest.fixture
def latin(postgres_dsn: str) -> Iterator[str]:
    """A database in which there is no room for Chinese."""
    execute(postgres_dsn, "CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C' LOCALE_PROVIDER libc")
    yield f"{postgres_dsn.rpartition('/')[0]}/latin"
    execute(postgres_dsn, "DROP DATABASE latin")


@pytest.mark.parametrize("command", ["migrate", "worker", "doctor"])
def test_encoding_without_room_for_all_text_is_refused_before_any_request_is(
    redis_url: str, latin: str, bksi: RunBksi, command: str
) -> None:
    done = bksi(command, env={"BKSI_REDIS_URL": redis_url, "BKSI_POSTGRES_DSN": latin, "COLUMNS": "400"})

    assert done.returncode == 1
    assert "encoding is LATIN1" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_role_that_may_not_make_tables_is_told_that_it_must_own_the_database(postgres_dsn: str, bksi: RunBksi) -> None:
    execute(postgres_dsn, "CREATE ROLE guest LOGIN PASSWORD 'guest'")
    _, _, server = postgres_dsn.rpartition("@")

    done = bksi("migrate", env={"BKSI_POSTGRES_DSN": f"postgresql://guest:guest@{server}"})
    execute(postgres_dsn, "DROP ROLE guest")

    (line,) = done.stderr.splitlines()
    assert (done.returncode, "ALTER DATABASE … OWNER TO …" in line) == (1, True), line


@pytest.mark.parametrize(
    "dsn", ["postgresql://nobody@127.0.0.1:1/db", "postgresql://nobody@127.0.0.1:1,localhost:1/db"]
)
def test_migrate_says_in_one_line_that_it_reaches_none(bksi: RunBksi, dsn: str) -> None:
    done = bksi("migrate", env={"BKSI_POSTGRES_DSN": dsn})

    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "cannot be reached" in line


@pytest.mark.parametrize("command", ["worker", "migrate"])
@pytest.mark.parametrize(
    ("dsn", "said"),
    [
        ("postgresql://u:CANARY@127.0.0.1:1/db?sslmode=safe", "`sslmode` parameter must be one of"),
        ("postgresql://u:CANARY@/db?host=127.0.0.1&port=x", "a port or an option in it is malformed"),
    ],
)
def test_dsn_that_the_driver_cannot_use_is_named(
    redis_url: str, bksi: RunBksi, command: str, dsn: str, said: str
) -> None:
    done = bksi(command, env={"BKSI_REDIS_URL": redis_url, "BKSI_POSTGRES_DSN": dsn})

    assert done.returncode == 1
    line = _last_event(done) if command == "worker" else done.stderr.splitlines()[-1]
    assert line.startswith(f"bksi {command}: BKSI_POSTGRES_DSN (postgresql://")
    assert said in line
    assert "CANARY" not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
