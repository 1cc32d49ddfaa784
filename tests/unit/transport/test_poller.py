"""Celery's event loop comes round again for a channel that rests."""

import select
import time

from kombu.asynchronous import Hub

from worker.transport.redis import Poller


def test_poller_without_an_event_loop_cannot_be_woken() -> None:
    assert not Poller().wake_in(0.01, in_tick=True)


def test_event_loop_reads_its_timers_again_when_it_has_done_so_before_the_tick() -> None:
    hub, poller = Hub(), Poller()
    waker = hub._create_waker()
    try:
        poller.run_in(hub)
        assert poller.wake_in(60, in_tick=False)
        assert not select.select([waker.fileno()], [], [], 0)[0]

        assert poller.wake_in(30, in_tick=True)

        assert select.select([waker.fileno()], [], [], 0)[0]
        assert 0 < hub.fire_timers(max_delay=60) <= 30
        assert min(entry.eta for entry in hub.timer.queue) > time.monotonic()
    finally:
        hub.close()
