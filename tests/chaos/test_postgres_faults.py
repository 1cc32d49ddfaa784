"""PostgreSQL goes away, ends sessions, answers late or not at all: promises 3 and 4, nothing repeated blindly."""

import signal
from collections.abc import Callable, Iterator

import pytest

from chaos.proxy import FaultProxy
from contract.message import new_request_id
from devstack.servers import Postgres, Valkey
from tests.chaos.nursery import wait_until
from tests.chaos.system import System, bound, unbound
from tests.conftest import execute


@pytest.fixture
def behind_proxy(
    open_system: Callable[[str, str], System], valkey: Valkey, postgres: Postgres, dsn: str
) -> Iterator[tuple[System, FaultProxy]]:
    """A system whose workers reach PostgreSQL through a proxy."""
    assert postgres.port is not None
    with FaultProxy(postgres.port) as proxy:
        system = open_system(valkey.url, dsn)
        system.worker_dsn = dsn.replace(f":{postgres.port}/", f":{proxy.port}/")
        yield system, proxy
        proxy.restore()
        system.close()


@pytest.mark.parametrize("way", ["stop", "kill"])
def test_restart_of_postgres_with_work_in_flight(system: System, postgres: Postgres, way: str) -> None:
    worker = system.worker("before_write=hold", BKSI_WORKER_CONCURRENCY="2")
    system.submit(*[bound(host, host + 1) for host in range(1, 6)])
    system.passed("before_write", 2)

    getattr(postgres, way)()
    system.release("before_write")
    system.submit(unbound(1))
    postgres.start()

    system.all_succeed()
    assert worker.returncode is None


@pytest.mark.parametrize("away", ["stopped", "taking nobody in"])
def test_direct_message_outlasts_a_database_that_is_away(system: System, postgres: Postgres, away: str) -> None:
    """Until a worker has put it into the ledger, the message is all there is of its request."""
    name = system.dsn.rpartition("/")[2]
    worker = system.worker("after_take=sleep:0")
    system.listening(worker)
    if away == "stopped":
        postgres.stop()
    else:
        execute(postgres.url, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        execute(postgres.url, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")

    request_id = new_request_id()
    system.send_direct(request_id, bound(1, 2))
    wait_until(lambda: system.redis_keys("bksi:paused"), what="the worker takes nothing")
    if away == "stopped":
        postgres.start()
    else:
        execute(postgres.url, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")

    wait_until(lambda: system.redis_keys(f"bksi:*:{request_id}"))
    system.all_succeed()
    assert worker.returncode is None
    assert system.redis_keys("bksi:dead") == system.redis_keys("bksi:failed_takes:*") == []


def test_sessions_that_are_terminated_in_mid_transaction(system: System) -> None:
    worker = system.worker("before_commit=hold")
    system.submit(unbound(1, 2, processes=["alpha"]))
    system.finish()
    system.submit(unbound(1, 2, processes=["alpha", "beta"]), bound(1))
    system.passed("before_commit")

    ended = system.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'bksi worker' AND datname = current_database()"
    )
    assert ended
    system.release("before_commit")

    system.all_succeed()
    assert worker.returncode is None


@pytest.mark.parametrize("after_commit", [True, False])
def test_commit_whose_outcome_is_unknown(behind_proxy: tuple[System, FaultProxy], after_commit: bool) -> None:
    system, proxy = behind_proxy
    system.worker()
    # The report is among the arguments of the one statement that writes and commits.
    lost = proxy.lose_answer(b"statistics", after_commit=after_commit)
    system.submit(unbound(1, 2, 3))

    (report,) = system.all_succeed()
    assert lost.is_set()
    assert report.attempts == 1
    # Done before the answer was lost: found in the ledger, and neither written again nor taken for an existing one.
    assert {item["outcome"].value for item in report.items} == {"created"}


def test_deadlocks_and_conflicts_between_many_workers(system: System) -> None:
    for _ in range(3):
        system.worker(BKSI_WORKER_CONCURRENCY="8", BKSI_DATABASE_CONNECTIONS="8")
    hosts = list(range(1, 13))
    orders = [hosts, hosts[::-1], hosts[6:] + hosts[:6], hosts[::2] + hosts[1::2]]
    subsets = (["alpha"], ["beta", "gamma"], ["alpha", "beta"])
    system.submit(
        *[bound(*order) for order in orders for _ in range(4)],
        *[unbound(*order, processes=names) for order in orders for names in subsets],
    )

    reports = system.all_succeed()

    created = [item for report in reports for item in report.items if item["outcome"].value == "created"]
    assert len(created) == 2 * len(hosts)


def test_connections_that_go_dead(behind_proxy: tuple[System, FaultProxy]) -> None:
    system, proxy = behind_proxy
    worker = system.worker(BKSI_STATEMENT_TIMEOUT_MS="2000")
    system.submit(*[bound(host) for host in range(1, 5)])
    system.finish()

    proxy.freeze_open()
    system.submit(*[bound(host) for host in range(11, 16)])

    system.all_succeed()
    assert worker.returncode is None


def test_slow_database_with_one_connection_for_many(behind_proxy: tuple[System, FaultProxy]) -> None:
    system, proxy = behind_proxy
    proxy.delay(0.05)
    system.worker(BKSI_DATABASE_CONNECTIONS="1", BKSI_WORKER_CONCURRENCY="16")

    system.submit(*[bound(host) for host in range(1, 17)])

    system.all_succeed()


def test_frozen_worker_does_not_keep_its_locks(system: System) -> None:
    """It holds a transaction open, and others need the same instance."""
    system.submit(unbound(1, processes=["alpha"]))
    frozen = system.worker("before_commit=stop:1;after_publish=sleep:0", BKSI_STATEMENT_TIMEOUT_MS="2000")
    system.finish()
    system.submit(unbound(1, processes=["alpha", "beta"]))
    system.passed("before_commit")

    system.worker("after_publish=sleep:0", BKSI_STATEMENT_TIMEOUT_MS="2000")
    (_, report) = system.all_succeed()
    assert report.attempts == 2

    frozen.signal(signal.SIGCONT)
    system.passed("after_publish", 3)  # the frozen one, too, publishes what the ledger says
    system.judge()
