"""The transport itself, and the poller that Celery's event loop drives. See `worker.transport`."""

import time
from collections.abc import Callable
from typing import Any

from kombu.transport import redis as stock

from worker.transport.channel import Channel


class Poller(stock.MultiChannelPoller):
    """kombu's poller, which lets its channels take their turn before they wait."""

    # kombu's own, which its stubs leave out.
    _channels: set[Any]
    _in_protected_read: bool

    def __init__(self) -> None:
        super().__init__()
        self._beats_at = 0.0
        self._hub: Any = None

    def run_in(self, hub: Any) -> None:
        """From now on `hub`, Celery's event loop, drives this poller."""
        self._hub = hub

    def wake_in(self, seconds: float, *, in_tick: bool) -> bool:
        """Have the event loop turn again after so long at most; False where there is none.

        In a tick (`on_poll_start`) the hub has read its timers already, and would sleep as long as they said then.
        """
        waker = getattr(self._hub, "_waker", None)
        if waker is None:
            return False
        self._hub.call_later(seconds, _nothing)
        if in_tick:
            waker.wake()
        return True

    def turn(self) -> int:
        """One turn of every channel; returns how many messages were taken."""
        return sum(channel.turn() for channel in tuple(self._channels))

    def heartbeat(self) -> None:
        """One beat of every channel."""
        for channel in tuple(self._channels):
            channel.heartbeat()

    def on_poll_start(self) -> None:
        """Called by the event loop before it waits (and by `get`, which has had its turn)."""
        if not self._in_protected_read:
            self.turn()
        super().on_poll_start()

    def get(self, callback: Callable[..., Any], timeout: float | None = None) -> None:
        """Deliver something, for a consumer without an event loop (``drain_events``).

        Raises:
            Empty: nothing came within `timeout` seconds.
        """
        if time.monotonic() >= self._beats_at:
            self.heartbeat()
            self._beats_at = time.monotonic() + min((c.owner_ttl_ms for c in self._channels), default=1000) / 4000
        if not self.turn():
            super().get(callback, timeout)


class Transport(stock.Transport):
    """Use it as ``broker_transport = "worker.transport.redis:Transport"`` with a ``redis://`` URL."""

    Channel = Channel
    cycle: Poller

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cycle = Poller()

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """Run in Celery's event loop. It cancels these timers itself when the connection breaks."""
        super().register_with_event_loop(connection, loop)
        self.cycle.run_in(loop)
        ttl_ms = connection.client.transport_options.get("owner_ttl_ms", Channel.owner_ttl_ms)
        loop.call_repeatedly(ttl_ms / 4000, self.cycle.heartbeat)


def _nothing() -> None:
    """That the event loop turns is all."""
