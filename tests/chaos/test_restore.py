"""The drill of docs/operations.md: PostgreSQL comes back from a dump, and Redis is empty."""

import subprocess
from pathlib import Path

import redis as redis_client

from devstack.servers import Postgres, Valkey
from tests.chaos.nursery import wait_until
from tests.chaos.system import System, bound, unbound
from tests.conftest import execute


def test_restore_answers_what_had_ended_says_what_is_lost_and_takes_it_again(
    system: System, postgres: Postgres, valkey: Valkey, dsn: str, tmp_path: Path
) -> None:
    worker = system.worker()
    ended = system.submit(bound(1, 2), unbound(1), bound(404))
    before = system.finish(*ended)
    dump = tmp_path / "bksi.dump"
    run(postgres, "pg_dump", "--format=custom", f"--file={dump}", dsn)
    later = system.submit(unbound(3))
    system.finish(*later)
    worker.kill()
    waiting = system.submit(unbound(4))

    database = dsn.rpartition("/")[2]
    execute(postgres.url, f"DROP DATABASE {database} WITH (FORCE)")
    execute(postgres.url, f"CREATE DATABASE {database}")
    run(postgres, "pg_restore", "--no-owner", "--exit-on-error", f"--dbname={dsn}", str(dump))
    with redis_client.Redis.from_url(valkey.url) as client:
        client.flushall()
    system.listening(system.worker())

    assert system.finish(*ended) == before
    for lost in (*later, *waiting):
        # Unknown, which the server answers with 404: its caller sends it again.
        wait_until(lambda lost=lost: system.poll(lost) is None, 30, "unknown")
        del system.told[lost]
    system.submit(unbound(3), unbound(4))
    assert [report.code for report in system.finish()] == [0, 0, 1110056, 0, 0]
    judged = system.judge()
    assert (judged.accepted, judged.ended) == (5, {"SUCCESS": 4, "FAILED": 1})


def run(postgres: Postgres, program: str, *arguments: str) -> None:
    """Run one of PostgreSQL's own programs."""
    done = subprocess.run([postgres.bin / program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
