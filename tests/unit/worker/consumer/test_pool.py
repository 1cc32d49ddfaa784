"""The pool, without a worker around it."""

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest
from celery import Celery, signals
from celery.utils.dispatch import Signal

from worker.consumer.pool import AsyncioPool, CoroutineTask


class Hub:
    """Stands for kombu's, which sleeps in another thread."""

    def __init__(self) -> None:
        self.woken = threading.Event()
        self.woken_by = ""

    def call_soon(self, callback: Callable[..., object]) -> None:
        callback()
        self.woken_by = threading.current_thread().name
        self.woken.set()


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Runs in a thread of its own name."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="the loop")
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_word_to_stop_wakes_an_idle_hub_from_another_thread(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Who listens to Celery's own would end this process: `worker.app`, if another test has imported it.
    monkeypatch.setattr(signals, "worker_shutting_down", Signal(name="worker_shutting_down"))
    app, hub = Celery(set_as_current=False), Hub()

    @app.task(base=CoroutineTask, event_loop=staticmethod(lambda: loop))
    def work() -> None: ...

    pool = AsyncioPool(1, app=app)
    pool.register_with_event_loop(hub)
    signals.worker_shutting_down.send(sender="worker", sig="SIGTERM", how="Warm", exitcode=0)

    assert hub.woken.wait(10)
    assert hub.woken_by == "the loop"
