"""Streaming replication, with two real servers: what the DSN names is followed to whoever takes writes."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from devstack.process import Guard
from devstack.replica import copy, follow
from devstack.servers import Postgres, Valkey
from tests.chaos.nursery import wait_until
from tests.chaos.system import System, bound, unbound
from tests.conftest import execute


@pytest.fixture
def pair(postgres: Postgres, dsn: str, guard: Guard, tmp_path: Path) -> Iterator[tuple[Postgres, Postgres]]:
    """A primary and its standby, each with the database of `dsn`."""
    del dsn  # it is to be there when the copy is made
    with ExitStack() as servers:
        primary = servers.enter_context(copy(postgres, tmp_path / "one", guard))
        standby = copy(primary, tmp_path / "two", guard)
        follow(standby, primary)
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

    follow(one, two)
    one.start()
    system.submit(*[unbound(host) for host in range(2, 6)])
    reports = system.all_succeed()
    assert worker.returncode is None
    assert {report.attempts for report in reports} == {1}
    system.close()
