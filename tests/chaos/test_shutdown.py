"""SIGTERM finishes or hands back within half a minute, twice too; a rolling restart under load loses nothing."""

import json
import signal

import pytest

from contract.message import QUEUE_NAME
from devstack.servers import Valkey
from tests.chaos.nursery import Child, wait_until
from tests.chaos.system import System, bound, on_both_transports, unbound

MOST_S = 30.0
EX_SOFTWARE = 70
HOUR = {"BKSI_OWNER_TTL_MS": "3600000"}
"""A lease that nobody can wait for: what is taken over, was handed back."""


def events(worker: Child) -> list[str]:
    """What a worker has logged, all of it lines of JSON."""
    return [json.loads(line)["event"] for line in worker.log.read_text().splitlines()]


@on_both_transports
@pytest.mark.parametrize("signals", [1, 2])
def test_sigterm_finishes_what_runs_and_leaves_the_rest(system: System, signals: int) -> None:
    system.submit(*[bound(host) for host in range(1, 21)])
    # Its reaper would send again what this machine is slow to lease, or to keep a lease of for a second.
    worker = system.worker("after_lease=hold", BKSI_WORKER_CONCURRENCY="4", BKSI_LOG_FORMAT="json", **HOUR)
    system.passed("after_lease", 4)

    for _ in range(signals):
        worker.signal(signal.SIGTERM)
    system.release("after_lease")

    assert worker.wait(MOST_S) == 0
    assert "Warm shutdown (MainProcess)" in events(worker)
    finished = len(system.sql("SELECT FROM request_ledger"))
    assert finished >= 4
    with system.redis() as client:
        # Every other one waits in the queue, once: nobody has to wait for a lease or a rescuer.
        assert client.llen(QUEUE_NAME) == 20 - finished
        assert client.zcard("bksi:workers") == 0
    system.worker()
    reports = system.all_succeed()
    assert {report.attempts for report in reports} == {1}


def test_sigterm_hands_back_what_does_not_end(system: System) -> None:
    system.submit(bound(1), unbound(2))
    worker = system.worker("after_lease=sleep:3600:2", BKSI_SHUTDOWN_GRACE_S="1", **HOUR)
    system.passed("after_lease", 2)
    successor = system.worker("after_lease=sleep:0", **HOUR)
    system.listening(successor)

    worker.signal(signal.SIGTERM)
    assert worker.wait(MOST_S) == 0

    reports = system.all_succeed()
    assert {report.attempts for report in reports} == {1}  # being handed back is no failed attempt


def test_second_ctrl_c_hands_back_at_once_and_says_so_in_json(system: System) -> None:
    system.submit(bound(1))
    worker = system.worker("after_lease=sleep:3600", BKSI_SHUTDOWN_GRACE_S="1", BKSI_LOG_FORMAT="json", **HOUR)
    system.passed("after_lease")
    worker.signal(signal.SIGINT)
    wait_until(lambda: "Hitting Ctrl+C again" in worker.log.read_text(), MOST_S, "the first Ctrl-C")
    worker.signal(signal.SIGINT)

    worker.wait(MOST_S)
    assert "Hitting Ctrl+C again will terminate all running tasks!" in events(worker)


def test_sigterm_ends_a_worker_whose_redis_is_gone(system: System, valkey: Valkey) -> None:
    worker = system.worker()
    system.listening(worker)
    system.submit(bound(1))
    system.finish()
    valkey.kill()

    worker.signal(signal.SIGTERM)

    worker.wait(MOST_S)
    valkey.start()
    system.worker()
    system.submit(bound(2))
    system.all_succeed()


def test_rolling_restart_under_load(system: System) -> None:
    """Old and new at once, and none of the old ones has to be ended by its own half minute."""
    workers = [system.worker() for _ in range(2)]
    for round_ in range(6):
        system.submit(*[unbound(host, name=f"round {round_}") for host in range(1, 41)])
        system.listening(workers[0])
        leaver = workers.pop(0)
        leaver.signal(signal.SIGTERM)
        workers.append(system.worker())
        system.submit(*[bound(host) for host in range(round_ * 10 + 1, round_ * 10 + 11)])
        assert leaver.wait(MOST_S) == 0, leaver.tail()

    reports = system.all_succeed()
    assert len(reports) == 6 * 50


def test_sigterm_while_the_event_loop_hangs(system: System) -> None:
    """The last resort: the process ends itself before half a minute is over, and others need not wait for it."""
    system.submit(bound(1))
    worker = system.worker("before_write=hang:1", BKSI_SHUTDOWN_GRACE_S="0")
    system.passed("before_write")
    system.worker()
    worker.signal(signal.SIGTERM)

    system.all_succeed()
    assert worker.wait(MOST_S) == EX_SOFTWARE
