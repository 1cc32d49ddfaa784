"""Celery's consumer, which acknowledges at once and sends events in larger groups.

Celery puts an acknowledgement off to the next turn of its event loop, because in other pools any thread may make one.
But the loop looks for what has been put off before it handles what has ended, and then waits in the poller, with
nothing to wake it: the messages of a group that ended together stayed unacknowledged, and no further one was taken, for
up to a tenth of a second. Here endings are handled in the loop's own thread (`worker.consumer.pool`).

Celery sends the events that have gathered at every turn of its loop, or every 24 events, each time by a blocking round
trip through its own slow JSON. Under load that was a tenth of a worker's CPU. Nobody sees the tenth of a second that
they wait here.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from celery.worker import consumer as stock

CONSUMER: Final = "worker.consumer.celery_consumer:Consumer"
"""For the setting ``worker_consumer``."""
_PACE_S: Final = 0.1
_ASK_AGAIN_S: Final = 1.0
_MOST: Final = 1_000


class Consumer(stock.Consumer):
    """See the module; events go at most ten times a second, or once 1,000 have gathered."""

    # Celery's own, which its stubs leave out.
    hub: Any
    event_dispatcher: Any
    _flush_events: Callable[[], None]

    _due_until = 0.0
    _thread = 0

    def start(self) -> None:
        """Consume, in this thread, until the worker stops."""
        self._thread = threading.get_ident()
        super().start()

    def call_soon_ack(self, p: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Acknowledge or reject a message."""
        if threading.get_ident() == self._thread:
            return p(*args, **kwargs)
        return super().call_soon_ack(p, *args, **kwargs)  # type: ignore[misc]  # the stubs leave it out

    def on_send_event_buffered(self) -> None:  # type: ignore[override]  # the stubs take it for an attribute
        """An event waits to be sent."""
        now = time.monotonic()
        # A lost connection takes the hub's timers along: after a while the next event asks again.
        if now >= self._due_until and self.hub:
            self._due_until = now + _ASK_AGAIN_S
            self.event_dispatcher.buffer_limit = _MOST
            self.hub.call_later(_PACE_S, self._send_events)

    def shutdown(self) -> None:
        """Send what still waits, then stop as Celery does."""
        with contextlib.suppress(Exception):  # whatever it is, it must not keep the worker from ending
            self._flush_events()
        super().shutdown()

    def _send_events(self) -> None:
        self._due_until = 0.0
        self._flush_events()
