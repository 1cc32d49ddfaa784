"""Streaming replication, with two real servers: what the DSN names is followed to whoever takes writes."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from devstack.privileges import nobody, unprivileged
from devstack.process import Guard
from devstack.server import PLAIN_ENVIRONMENT
from devstack.servers import Postgres, Valkey
from tests.chaos.nursery import wait_until
from tests.chaos.system import System, bound, unbound
from tests.conftest import execute


def _copy(source: Postgres, directory: Path, guard: Guard) -> Postgres:
    """A server with all that `source` has; its standby as soon as `source` is its primary."""
    copy = Postgres(directory, guard, durable=False)
    copy.password = source.password
    copy.data.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(copy.data, nobody().pw_uid, nobody().pw_gid)
    backup = [source.bin / "pg_basebackup", f"--pgdata={copy.data}", f"--dbname={source.url}"]
    command = [*unprivileged(PLAIN_ENVIRONMENT["PATH"]), *backup, "--checkpoint=fast", "--no-sync"]
    subprocess.run(command, env=PLAIN_ENVIRONMENT, cwd="/", check=True, capture_output=True)
    return copy


def _follow(standby: Postgres, primary: Postgres) -> None:
    """Let `standby`, which does not run, start as the standby of `primary`."""
    (standby.data / "standby.signal").touch()
    with (standby.data / "postgresql.auto.conf").open("a") as configuration:
        configuration.write(f"primary_conninfo = '{primary.url}'\n")


@pytest.fixture
def pair(postgres: Postgres, dsn: str, guard: Guard, tmp_path: Path) -> Iterator[tuple[Postgres, Postgres]]:
    """A primary and its standby, each with the database of `dsn`."""
    del dsn  # it is to be there when the copy is made
    with ExitStack() as servers:
        primary = servers.enter_context(_copy(postgres, tmp_path / "one", guard))
        standby = _copy(primary, tmp_path / "two", guard)
        _follow(standby, primary)
        yield primary, servers.enter_context(standby)


def test_switchover_between_the_servers_that_the_dsn_names(
    open_system: Callable[[str, str], System], valkey: Valkey, dsn: str, pair: tuple[Postgres, Postgres]
) -> None:
    one, two = pair
    # The standby first.
    servers = f"127.0.0.1:{two.port},127.0.0.1:{one.port}"
    both = f"postgresql://postgres:{one.password}@{servers}/{dsn.rpartition('/')[2]}"
    system = open_system(valkey.url, f"{both}?target_session_attrs=read-write")
    system.worker_dsn = both
    worker = system.worker()
    system.submit(bound(1), unbound(1))
    system.finish()

    wait_until(lambda: system.sql("SELECT FROM pg_stat_replication WHERE state = 'streaming'"), what="streaming")
    one.stop()
    system.submit(*[bound(host) for host in range(2, 6)])
    execute(two.url, "SELECT pg_promote()")
    system.all_succeed()

    _follow(one, two)
    one.start()
    system.submit(*[unbound(host) for host in range(2, 6)])
    reports = system.all_succeed()
    assert worker.returncode is None
    assert {report.attempts for report in reports} == {1}
    system.close()
