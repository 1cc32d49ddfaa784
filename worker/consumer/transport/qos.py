"""What a channel delivers, and how it counts what is in hand. See `worker.consumer.transport`."""

from typing import TYPE_CHECKING, Any

import structlog
from kombu.transport import redis as stock
from kombu.transport import virtual
from redis.exceptions import ResponseError
from typing_extensions import override

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
