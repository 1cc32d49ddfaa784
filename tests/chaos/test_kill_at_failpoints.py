"""kill -9 of a worker at every step between receiving a message and acknowledging it: promises 1 to 5."""

import signal

import pytest

from tests.chaos.system import System, bound, unbound

on_both_transports = pytest.mark.parametrize("transport", ["guarded", "stock"], indirect=True)
STEPS = ["after_take", "after_lease", "before_write", "after_write", "before_save", "after_save", "before_ack"]


@on_both_transports
@pytest.mark.parametrize("point", STEPS)
def test_kill_of_worker_loses_and_doubles_nothing(system: System, point: str) -> None:
    system.submit(bound(1, 2, 3), unbound(1, 2), bound(3, 4))
    dying = system.worker(f"{point}=kill:1", BKSI_WORKER_CONCURRENCY="2")
    assert dying.wait() == -signal.SIGKILL

    system.worker()

    system.all_succeed()
