"""kombu's AMQP transport with the screen before Celery. Taking and acknowledging are RabbitMQ's, and stay kombu's.

What the screen refuses goes to the dead letters beside the pending entries, in the JSON that a queue on Redis would
hold, and is acknowledged then. While that Redis is away it stays unacknowledged: RabbitMQ delivers it again, later.
"""

import base64
import uuid
from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import orjson
import structlog
from kombu.transport import pyamqp as stock
from redis import Redis
from redis.exceptions import RedisError

from contract.redis.records import MAX_DEAD_LETTERS, SET_ASIDE, Keys
from worker.consumer.transport.letter import dead_letter
from worker.consumer.transport.screen import NewerVersion, Screen, Unfit
from worker.metrics import DEAD_LETTERS

_log = structlog.get_logger(__name__)


class Channel(stock.Channel):
    """A channel whose consumers see only what may reach Celery."""

    connection: "Connection"

    def basic_consume(  # type: ignore[override]  # kombu calls it by name
        self, queue: str = "", *, no_ack: bool = False, callback: Any = None, **kwargs: Any
    ) -> Any:
        """Start consuming. Queues without acknowledgements (events, remote control) are kombu's alone."""
        if callback is not None and not no_ack:
            callback = partial(self._admit, queue, callback)
        return super().basic_consume(queue, no_ack=no_ack, callback=callback, **kwargs)

    def _admit(self, queue: str, deliver: Callable[[Any], None], message: Any) -> None:
        body = message.body.encode() if isinstance(message.body, str) else bytes(message.body)
        properties = message.properties
        kind, encoding = properties.get("content_type"), properties.get("content_encoding")
        headers = properties.get("application_headers") or {}
        try:
            self.connection.screen.check_parts(kind, encoding, headers, body)
        except (Unfit, NewerVersion) as refused:
            reason = str(refused) or "headers.task is of a newer version"
            self._bury(wire_message(queue, kind, encoding, headers, body), queue, reason, message.delivery_tag)
        else:
            deliver(message)

    def _bury(self, wire: bytes, queue: str, reason: str, delivery_tag: Any) -> None:
        letter = dead_letter(wire, queue=queue, reason=reason)
        try:
            self.connection.bury(letter)
        except (RedisError, OSError) as error:
            _log.error("message neither delivered nor set aside", reason=reason, error=type(error).__name__)
            return
        _log.warning("message set aside", reason=reason, queue=queue, size=len(wire))
        DEAD_LETTERS.labels("unfit").inc()
        self.basic_ack(delivery_tag)


class Connection(stock.Connection):
    """A connection that knows what may run here, and where the dead letters are.

    Transport options, besides py-amqp's own:
        task_names: as those of `worker.consumer.transport.channel.Channel`.
        key_prefix: the same.
        redis_url: of the Redis of pending entries, which has the dead letters.
        redis_timeout_s: how long it may take to answer.
    """

    Channel = Channel

    def __init__(
        self,
        *args: Any,
        task_names: Collection[str] | None = None,
        key_prefix: str = "bksi:",
        redis_url: str = "",
        redis_timeout_s: float = 2.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.screen = Screen(task_names)
        self._key = Keys(key_prefix).dead_letters
        self._redis_url = redis_url
        self._redis_timeout_s = redis_timeout_s

    def bury(self, letter: bytes) -> None:
        """Put a letter among the dead letters."""
        seconds = self._redis_timeout_s
        client = Redis.from_url(self._redis_url, socket_timeout=seconds, socket_connect_timeout=seconds)
        with client:
            client.eval(SET_ASIDE, 1, self._key, letter, MAX_DEAD_LETTERS)


class Transport(stock.Transport):
    """Use it as ``broker_transport = "worker.consumer.transport.amqp:Transport"`` with an ``amqp://`` URL."""

    Connection = Connection


class SSLTransport(stock.SSLTransport):
    """The same for an ``amqps://`` URL."""

    Connection = Connection


def wire_message(queue: str, content_type: Any, content_encoding: Any, headers: Any, body: bytes) -> bytes:
    """An AMQP message in the JSON that kombu pushes to a Redis list."""
    message = {
        "body": base64.b64encode(body).decode(),
        "content-encoding": content_encoding,
        "content-type": content_type,
        "headers": headers,
        "properties": {
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": queue},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": str(uuid.uuid4()),
        },
    }
    return orjson.dumps(message, default=str, option=orjson.OPT_NON_STR_KEYS)
