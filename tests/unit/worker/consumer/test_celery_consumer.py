"""Where an acknowledgement is made: at once in the thread that consumes, and there too when it comes from another."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery, bootsteps
from kombu.asynchronous import Hub

from worker.consumer.celery_consumer import Consumer


class Work(bootsteps.StartStopStep):
    """What a worker does between its start and its end, in the thread that consumes."""

    def start(self, parent: Any) -> None:
        parent.work()
        parent.stop()


class Worker(Consumer):
    """A consumer that only does `work`."""

    class Blueprint(bootsteps.Blueprint):
        default_steps: set[type[bootsteps.Step]] = {Work}  # noqa: RUF012 - as Celery has it

    def work(self) -> None:
        """Acknowledge one message here and one in another thread."""
        self.acknowledged: list[tuple[str, int]] = []
        self.call_soon_ack(self.acknowledge, "here")
        assert self.acknowledged == [("here", threading.get_ident())]

        other = threading.Thread(target=self.call_soon_ack, args=(self.acknowledge, "elsewhere"))
        other.start()
        other.join()
        assert len(self.acknowledged) == 1
        self.hub.run_once()

    def acknowledge(self, which: str) -> None:
        self.acknowledged.append((which, threading.get_ident()))


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    yield hub
    hub.close()


def test_acknowledgement_waits_only_when_it_comes_from_another_thread(hub: Hub) -> None:
    app = Celery("consumer", broker="memory://", set_as_current=False)
    worker: Any = Worker(lambda *_: None, app=app, hub=hub)

    worker.start()

    assert worker.acknowledged == [("here", threading.get_ident()), ("elsewhere", threading.get_ident())]
