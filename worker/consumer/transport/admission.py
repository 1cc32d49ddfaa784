"""Which of the messages that a channel takes go on to Celery, how those are counted, and what becomes of the others."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import structlog
from kombu.transport import redis as stock
from kombu.transport import virtual
from kombu.utils.json import loads
from redis.exceptions import ResponseError
from typing_extensions import override

from contract.redis.records import MAX_PARKED
from worker.consumer.transport.aside import Aside
from worker.consumer.transport.deliveries import Deliveries, Link, Taken
from worker.consumer.transport.screen import NewerVersion, Screen, Unfit
from worker.metrics import DEAD_LETTERS

_log = structlog.get_logger(__name__)
MESSAGE_ERRORS: Final = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What a message that the screen did not see through may raise."""


class Admission:
    """Of one channel.

    Args:
        screen: decides.
        deliveries: have the messages.
        link: asks Redis.
        queue_of: the name of the queue that a message came from.
    """

    def __init__(self, screen: Screen, deliveries: Deliveries, link: Link, queue_of: Callable[[Taken], str]) -> None:
        self._screen = screen
        self._deliveries = deliveries
        self._aside = Aside(deliveries)
        self._ask = link.ask
        self._queue_of = queue_of
        self._newer: list[tuple[Taken, str]] = []

    def admit(self, taken: Sequence[Taken], is_screened: Callable[[str], bool]) -> list[tuple[Taken, dict[str, Any]]]:
        """Those that may go on, each as kombu expects it; the others are set aside.

        Args:
            taken: as they came.
            is_screened: whether what comes from this queue may be anything.
        """
        admitted = [
            (one, payload)
            for one in taken
            if (payload := self._payload(one, is_screened=is_screened(self._queue_of(one)))) is not None
        ]
        self._park()
        return admitted

    def _payload(self, taken: Taken, *, is_screened: bool) -> dict[str, Any] | None:
        try:
            payload = self._screen.check(taken.raw, taken.size) if is_screened else loads(taken.raw)
            payload["properties"]["delivery_tag"] = taken.tag
        except NewerVersion as newer:
            self._newer.append((taken, newer.task))
        except Unfit as unfit:
            self.bury(taken, str(unfit))
        except MESSAGE_ERRORS as error:
            self.bury(taken, f"not a message: {type(error).__name__}")
        else:
            return payload
        return None

    def bury(self, taken: Taken, reason: str) -> None:
        """Set one aside for an operator."""
        _log.warning("message set aside", reason=reason, queue=self._queue_of(taken), size=taken.size)
        if self._ask(lambda: self._aside.bury(taken, reason)) is None:
            self._deliveries.postpone(taken.tag)
        else:
            DEAD_LETTERS.labels("unfit").inc()

    def _park(self) -> None:
        """Set what is for newer workers aside, so that nothing behind it has to wait."""
        newer, self._newer = self._newer, []
        if not newer:
            return
        over = self._ask(lambda: self._aside.park(newer))
        if over is None:
            for taken, _ in newer:
                self._deliveries.postpone(taken.tag)
            return
        _log.info("parked for newer workers", messages=len(newer) - len(over))
        for taken in over:
            self.bury(taken, f"headers.task is of a newer version, and {MAX_PARKED} such messages are parked already")

    def sift(self) -> None:
        """Bring back what was parked and is known here, and set aside what was parked for too long."""
        moved, buried = self._ask(lambda: self._aside.sift(self._screen.names or ())) or (0, 0)
        if moved:
            _log.info("took back what was parked", messages=moved)
        DEAD_LETTERS.labels("parked too long").inc(buried)
        if buried:
            _log.warning("parked for too long, set aside", messages=buried)

    def set_misfits_aside(self, lists: Sequence[str]) -> None:
        """Take away what stands where lists belong."""
        try:
            for reason in self._aside.set_misfits_aside(lists):
                _log.error("key set aside", reason=reason)
                DEAD_LETTERS.labels("no list").inc()
        except ResponseError as error:
            _log.error("key not set aside", error=type(error).__name__)


if TYPE_CHECKING:
    from worker.consumer.transport.channel import Channel

_log = structlog.get_logger(__name__)


class Message(virtual.Message):
    """A message whose body the screen has decoded already."""

    def __init__(self, payload: dict[str, Any], channel: Any = None, **kwargs: Any) -> None:
        content = payload.pop("decoded", None)
        super().__init__(payload, channel, **kwargs)
        self._decoded_cache = content


class QoS(stock.QoS):
    """Counts what is in hand against the prefetch credit. Recording is done already, in the step that took it."""

    channel: "Channel"
    _delivered: Any
    _dirty: Any

    @property
    def in_hand(self) -> int:
        """How many messages are delivered and not done."""
        return len(self._delivered) - len(self._dirty)

    def append(self, message: Any, delivery_tag: str) -> None:
        """A message was delivered."""
        virtual.QoS.append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """It is done: acknowledge it at the next turn."""
        self.channel.consumer.ack(delivery_tag)
        self.forget(delivery_tag)

    @override
    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Drop it, or hand it back after a moment."""
        if not requeue:
            self.ack(delivery_tag)
            return
        self.channel.consumer.postpone(delivery_tag)
        self.forget(delivery_tag)

    def restore_unacked(self, client: Any = None) -> None:
        """Hand back everything in hand."""
        self.channel.consumer.hand_back(list(self._delivered))
        self._delivered.clear()

    def restore_unacked_once(self, stderr: Any = None) -> None:
        """Hand back everything when the process ends without having closed the channel."""
        self._on_collect.cancel()  # type: ignore[attr-defined]  # kombu's stubs leave it out
        self._delivered.clear()
        self._delivered.restored = True
        self.channel.leave()

    def forget(self, delivery_tag: str) -> None:
        """It is no longer in hand, whatever became of it."""
        virtual.QoS.ack(self, delivery_tag)

    def restore_visible(self, start: int = 0, num: int = 10, interval: int = 10) -> None:
        """Bring back what workers with kombu's own transport left behind, by their rules."""
        try:
            super().restore_visible(start, num, interval)
        except ResponseError as error:
            _log.debug("not restored", error=type(error).__name__)
