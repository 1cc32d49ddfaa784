"""Celery's consumer, which acknowledges at once and sends events in larger groups, and its events, made faster.

Celery puts an acknowledgement off to the next turn of its event loop, because in other pools any thread may make one.
But the loop looks for what has been put off before it handles what has ended, and then waits in the poller, with
nothing to wake it: the messages of a group that ended together stayed unacknowledged, and no further one was taken, for
up to a tenth of a second. Here endings are handled in the loop's own thread (`worker.consumer.pool`).

Celery sends the events that have gathered at every turn of its loop, or every 24 events, each time by a blocking round
trip through its own slow JSON. Under load that was a tenth of a worker's CPU. Nobody sees the quarter of a second that
they wait here.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import orjson
from celery.events.dispatcher import EventDispatcher
from celery.utils.time import utcoffset
from celery.worker import consumer as stock
from kombu.serialization import register
from kombu.utils.json import dumps, loads

CONSUMER: Final = "worker.consumer.celery_consumer:Consumer"
"""For the setting ``worker_consumer``."""
DISPATCHER: Final = "worker.consumer.celery_consumer:Dispatcher"
"""For ``app.events.dispatcher_cls``."""
SERIALIZER: Final = "events-json"
"""For the setting ``event_serializer``: ``application/json`` as ever, written faster."""
_UTCOFFSET_S: Final = 10.0
_OF_EVERY_TASK: Final = frozenset({"task-received", "task-started", "task-succeeded"})
"""They bring nothing but their own fields."""
_PACE_S: Final = 0.25
_ASK_AGAIN_S: Final = 1.0
_MOST: Final = 1_000


class Consumer(stock.Consumer):
    """See the module; events go at most four times a second, or once 1,000 have gathered."""

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


class Dispatcher(EventDispatcher):
    """Celery's dispatcher, with a short way for the three events that every task has.

    And how far local time is from UTC is asked only now and then: each time is a system call.
    """

    # Celery's own, which its stubs leave out.
    buffer_group: frozenset[str]
    buffer_limit: int
    clock: Any
    enabled: bool
    groups: set[str]
    hostname: str
    on_send_buffered: Callable[[], None] | None
    pid: int
    _group_buffer: dict[str, list[dict[str, Any]]]

    _utcoffset = 0.0
    _known_until = 0.0

    def send(self, type: str, **fields: Any) -> None:  # type: ignore[override]  # noqa: A002 - Celery's own name
        """Send an event, or keep it until there are more."""
        if type not in _OF_EVERY_TASK or "task" not in self.buffer_group or self.groups:
            super().send(type, utcoffset=self._known_utcoffset, **fields)
        elif self.enabled:
            kept = self._group_buffer["task"]
            fields["hostname"], fields["pid"] = self.hostname, self.pid
            fields["utcoffset"], fields["clock"] = self._known_utcoffset(), self.clock.forward()
            fields["timestamp"], fields["type"] = time.time(), type
            kept.append(fields)
            if len(kept) >= self.buffer_limit:
                self.flush()
            elif self.on_send_buffered:
                self.on_send_buffered()

    def _known_utcoffset(self) -> Any:
        now = time.monotonic()
        if now >= self._known_until:
            self._known_until, self._utcoffset = now + _UTCOFFSET_S, utcoffset()
        return self._utcoffset


def _dumps(events: Any) -> str:
    try:
        return orjson.dumps(events).decode()
    except TypeError:  # a text that is no Unicode, from a message that somebody made by hand
        return dumps(events)


register(SERIALIZER, _dumps, loads, content_type="application/json", content_encoding="utf-8")
