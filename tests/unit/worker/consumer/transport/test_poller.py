"""Celery's event loop waits, and comes round again, as a channel that rests needs it."""

import time
from collections.abc import Iterator

import pytest
from kombu.asynchronous import Hub

from worker.consumer.transport.redis import Poller


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()
    yield hub
    hub.close()


@pytest.fixture
def poller(hub: Hub) -> Iterator[Poller]:
    poller = Poller()
    poller.run_in(hub)
    yield poller
    poller.close()


def rings(hub: Hub) -> bool:
    return bool(hub.poller.poll(0))


def test_poller_without_an_event_loop_cannot_be_woken() -> None:
    assert not Poller().wake_in(0.01, in_tick=True)


def test_event_loop_always_has_something_to_read_until_the_poller_is_closed(hub: Hub, poller: Poller) -> None:
    assert hub.readers, "a hub without readers sleeps instead of waiting, and hears of nothing meanwhile"

    poller.close()

    assert not hub.readers
    assert not poller.wake_in(60, in_tick=True)


def test_event_loop_comes_round_at_once_to_read_its_timers_again(hub: Hub, poller: Poller) -> None:
    assert poller.wake_in(60, in_tick=False)
    assert not rings(hub)

    assert poller.wake_in(30, in_tick=True)

    assert rings(hub)
    (callback, arguments) = next(iter(hub.readers.values()))
    callback(*arguments)
    assert not rings(hub)
    assert min(entry.eta for entry in hub.timer.queue) > time.monotonic()


def test_bell_that_nobody_hears_does_not_block(hub: Hub, poller: Poller) -> None:
    for _ in range(5_000):
        assert poller.wake_in(30, in_tick=True)

    assert rings(hub)
