"""A worker that hears nothing, or computes for ever, ends itself for its supervisor; one that waits does not."""

import time

from contract.message import QUEUE_NAME, make_celery
from contract.settings import Settings
from tests.chaos.nursery import Child, wait_until
from tests.chaos.system import System, bound

EX_SOFTWARE = 70
BARKS = {"BKSI_WATCHDOG_S": "1", "BKSI_REMOTE_CONTROL": "1"}


def test_worker_whose_consumer_is_deaf_ends_and_its_successor_does_the_work(system: System) -> None:
    worker = system.worker(**BARKS)
    system.listening(worker)
    _deafen(system)
    ids = system.submit(bound(1), bound(2))

    assert worker.wait() == EX_SOFTWARE
    assert "nothing is heard" in worker.tail()
    with system.redis() as client:
        assert client.llen(QUEUE_NAME) == len(ids)
    system.worker(**BARKS)

    system.all_succeed()


def test_worker_that_computes_for_ever_ends(system: System) -> None:
    (poison,) = system.submit(bound(1))
    worker = system.worker(f"before_write@{poison}=hang", BKSI_REDIS_TIMEOUT_S="0.3", **BARKS)

    assert worker.wait() == EX_SOFTWARE
    assert "event loop does not run" in worker.tail()
    system.worker(**BARKS)

    system.all_succeed()


def test_worker_with_nothing_to_do_and_worker_with_all_hands_full_stay(system: System) -> None:
    busy = system.worker("after_lease=hold", BKSI_WORKER_CONCURRENCY="1", **BARKS)
    system.submit(bound(1), bound(2))
    system.passed("after_lease")
    _outlast(busy)
    system.release("after_lease")
    system.finish()

    _outlast(busy)
    system.all_succeed()
    assert busy.returncode is None


def _outlast(worker: Child) -> None:
    """Let three times the watchdog's patience pass."""
    started = time.monotonic()
    wait_until(lambda: time.monotonic() - started > 3 or worker.returncode is not None)
    assert worker.returncode is None, worker.tail()


def _deafen(system: System) -> None:
    """Have the worker stop consuming without ending: it looks alive, and hears nothing."""
    app = make_celery(Settings(redis_url=system.redis_url))
    with app.connection_for_write() as connection:
        replies = app.control.cancel_consumer(QUEUE_NAME, connection=connection, reply=True, timeout=5, limit=1)
    assert [list(reply.values()) for reply in replies] == [[{"ok": f"no longer consuming from {QUEUE_NAME}"}]]
    app.close()
