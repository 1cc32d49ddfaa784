"""The transport itself, and the poller that Celery's event loop drives. See `worker.consumer.transport`."""

import time
from collections.abc import Callable
from contextlib import suppress
from socket import socket, socketpair
from typing import Any

from kombu.transport import redis as stock

from worker.consumer.transport.channel import Channel


class Poller(stock.MultiChannelPoller):
    """kombu's poller, which lets its channels take their turn before they wait."""

    # kombu's own, which its stubs leave out.
    _channels: set[Any]
    _in_protected_read: bool

    def __init__(self) -> None:
        super().__init__()
        self._beats_at = 0.0
        self._hub: Any = None
        self._bell: tuple[socket, socket] | None = None

    def run_in(self, hub: Any) -> None:
        """From now on `hub`, Celery's event loop, drives this poller.

        A hub that reads nothing does not wait but sleeps, up to a tenth of a second that nobody can cut short; and a
        worker that starts on a long queue, and is never idle, has nothing to wait for in Redis. So it reads our bell.
        """
        self._hub, self._bell = hub, socketpair()
        for end in self._bell:
            end.settimeout(0)
        hub.add_reader(self._bell[0].fileno(), self._rung)

    def wake_in(self, seconds: float, *, in_tick: bool) -> bool:
        """Have the event loop turn again after so long at most; False where there is none.

        In a tick (`on_poll_start`) the hub has read its timers already, and would wait as long as they said then.
        """
        if self._bell is None:
            return False
        self._hub.call_later(seconds, _nothing)
        if in_tick:
            with suppress(BlockingIOError):  # it rings already
                self._bell[1].send(b"\0")
        return True

    def close(self) -> None:
        """Forget the channels, and the event loop."""
        if self._bell is not None:
            self._hub.remove_reader(self._bell[0].fileno())
            for end in self._bell:
                end.close()
            self._bell = None
        super().close()

    def _rung(self) -> None:
        if self._bell is not None:
            with suppress(BlockingIOError):
                self._bell[0].recv(4096)

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
    """Use it as ``broker_transport = "worker.consumer.transport.redis:Transport"`` with a ``redis://`` URL."""

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
