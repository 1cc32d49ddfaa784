"""kombu's Redis channel with our own way of consuming. See `worker.consumer.transport`."""

import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from queue import Empty
from typing import Any, ClassVar, Final, TypeVar

import structlog
from kombu.transport import redis as stock
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from typing_extensions import override

from contract.redis.connection import refusal_of
from contract.redis.records import Keys
from plumbing.failpoints import failpoint
from worker.consumer.transport.admission import MESSAGE_ERRORS, Admission
from worker.consumer.transport.deliveries import Deliveries, Taken
from worker.consumer.transport.link import BROKER_ERRORS, Link
from worker.consumer.transport.qos import Message, QoS
from worker.consumer.transport.screen import Screen
from worker.metrics import TAKEN, TURNS

T = TypeVar("T")
_log = structlog.get_logger(__name__)

_MOST_AT_ONCE: Final = 100
_SEVERAL_QUEUES_WAIT_S: Final = 0.1
_LEAST_REST_S: Final = 0.01
_REST_FOR_EACH_S: Final = 0.001
_LONGEST_REST_S: Final = 0.05


class Channel(stock.Channel):
    """A channel that consumes as the package tells. It publishes, declares and broadcasts as kombu does.

    Transport options, besides kombu's own:
        key_prefix: of our keys; ``bksi:``.
        owner_ttl_ms: a consumer that was not heard of for so long is dead; 6,000.
        task_names: the tasks that may run; ``None`` lets every name pass to Celery, which drops what it does not know.
    """

    QoS = QoS
    Message = Message
    from_transport_options = (
        *stock.Channel.from_transport_options,
        "key_prefix",
        "owner_ttl_ms",
        "task_names",
    )
    key_prefix: str = "bksi:"
    owner_ttl_ms: int = 6_000
    task_names: Collection[str] | None = None

    # kombu's own, which its stubs leave out.
    connection: Any
    qos: Any
    _in_poll: Any
    _brpop_sent_at: float | None
    _queue_cycle: Any

    paused: ClassVar[bool] = False
    """Set while this process could not work on what it takes: its channels leave the queue to others."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.takes = False
        """Whether a queue is consumed here whose messages are acknowledged. Else everything is kombu's."""
        self._acked: set[str] = set()
        self._consumer: Deliveries | None = None
        self._commands: Redis | None = None
        self._waiting_on: Any = None
        self._waiting_id: tuple[Any, int] | None = None
        self._link = Link(self._set_misfits_aside)
        self._left = False
        self._rests_until = 0.0
        self._unbound: list[tuple[Any, ...]] = []
        self._admission: Admission | None = None
        super().__init__(*args, **kwargs)
        self.screen = Screen(self.task_names)

    @property
    def consumer(self) -> Deliveries:
        """What this channel holds in Redis."""
        if self._consumer is None:
            self._consumer = Deliveries(self._client, Keys(self.global_keyprefix + self.key_prefix), self.owner_ttl_ms)
        return self._consumer

    @property
    def admission(self) -> Admission:
        """What becomes of what it takes."""
        if self._admission is None:
            self._admission = Admission(self.screen, self.consumer, self._link, self._queue)
        return self._admission

    def turn(self) -> int:
        """Acknowledge what has gathered, take what the credit allows, deliver it; returns how many were taken."""
        if self._link.is_broken:
            raise RedisConnectionError("the connection that waits for messages broke")
        now = time.monotonic()
        if now < self._link.ask_again_at or (now < self._rests_until and not self.consumer.has_acks):
            return 0
        want = self._want()
        if not want and not (self._consumer and self._consumer.has_news):
            return 0
        lists = self._lists(self._queue_cycle.consume(len(self.active_queues))) if want else ()
        taken = self._link.ask(lambda: self.consumer.turn(want, lists, self._waited_list if want else "")) or []
        TURNS.inc()
        TAKEN.inc(len(taken))
        self._rests_until = 0.0
        if taken:
            failpoint("after_turn")
            self._deliver(taken)
            self._rest(in_tick=True)
        return len(taken)

    def heartbeat(self) -> None:
        """Stay alive for the others, bring back what dead consumers held, and what was parked for a newer worker."""
        if self._unbound:
            self._bind_again()
        if self._consumer and self._consumer.known and not self._left:
            moved = self._link.ask(self._consumer.heartbeat)
            if moved:
                _log.warning("brought back the messages of dead consumers", messages=moved)
            if self.takes and not Channel.paused:
                self.admission.sift()

    def leave(self) -> None:
        """Hand back everything that is not acknowledged. Once; later calls do nothing."""
        if self._left or self._consumer is None or not self._consumer.known:
            return
        self._left = True
        if not self._link.is_broken:
            try:
                self._stop_waiting()
                moved = self._consumer.leave()
            except (*BROKER_ERRORS, ResponseError) as error:
                _log.warning("nothing handed back", error=type(error).__name__)
            else:
                if moved:
                    _log.info("handed back", messages=moved)
                return
        self._consumer.abandon()

    @override
    def basic_consume(self, queue: str, no_ack: bool, *args: Any, **kwargs: Any) -> Any:
        """Start consuming."""
        if not no_ack:
            self._acked.add(queue)
        result = super().basic_consume(queue, no_ack, *args, **kwargs)
        self.takes = not self._acked <= self.active_fanout_queues
        return result

    @override
    def basic_get(self, queue: str, no_ack: bool = False, **kwargs: Any) -> Any:
        """One message, or ``None``."""
        if no_ack:
            return super().basic_get(queue, no_ack=True, **kwargs)
        while taken := self.consumer.turn(1, self._lists([queue])):
            for _, payload in self.admission.admit(taken, self._is_screened):
                message = self.Message(payload, channel=self)
                self.qos.append(message, message.delivery_tag)
                return message
        return None

    def close(self) -> None:
        """Hand back what is in hand and close the connections."""
        if not self.closed:
            self.leave()
            if self._waits:
                self._in_poll = None
        super().close()

    def _queue_bind(self, *binding: Any) -> None:
        """Tell senders where a queue is. Taking from it needs none of that, so a Redis that is full is no hindrance."""
        try:
            super()._queue_bind(*binding)  # type: ignore[misc]  # kombu's stubs leave it out
        except ResponseError as error:
            if not self._unbound:
                _log.warning("queue not bound yet", refusal=refusal_of(error))
            self._unbound.append(binding)

    def _size(self, queue: str) -> int:
        """How many messages wait. Not in a transaction, of which a full Redis 7 refuses even what only reads."""
        with self._client().pipeline(transaction=False) as pipe:
            for name in self._lists([queue]):
                pipe.llen(name)
            return sum(length for length in pipe.execute(raise_on_error=False) if isinstance(length, int))

    def _bind_again(self) -> None:
        unbound, self._unbound = self._unbound, []
        for binding in unbound:
            self._queue_bind(*binding)

    def _basic_cancel(self, consumer_tag: str) -> None:
        super()._basic_cancel(consumer_tag)  # type: ignore[misc]  # kombu's stubs leave it out
        self._acked.intersection_update(self._active_queues)
        took, self.takes = self.takes, not self._acked <= self.active_fanout_queues
        if took and not self.takes and not (self._left or self._link.is_broken):
            try:
                self._stop_waiting()
                self.consumer.drain()
            except (*BROKER_ERRORS, ResponseError) as error:
                _log.warning("not drained", error=type(error).__name__)

    def _deliver(self, taken: Sequence[Taken]) -> None:
        for one, payload in self.admission.admit(taken, self._is_screened):
            queue = self._queue(one)
            self._queue_cycle.rotate(queue)
            try:
                self.connection._deliver(payload, queue)  # noqa: SLF001 - how kombu's channels deliver
            except BROKER_ERRORS:
                raise
            except MESSAGE_ERRORS as error:
                self.qos.forget(one.tag)
                self.admission.bury(one, f"Celery refused it: {type(error).__name__}")
            else:
                if queue not in self._acked:
                    self.consumer.ack(one.tag)

    def _is_screened(self, queue: str) -> bool:
        return queue in self._acked or queue not in self._active_queues

    def _rest(self, *, in_tick: bool) -> None:
        """Take nothing for a moment, or until enough in hand has ended: what comes meanwhile is taken together.

        The moment is about as long as what is in hand takes. A message that came alone is then filed and acknowledged
        in one turn, and no script of the consumer stands in the way of the one that leases its request.
        """
        rest = min(max(_LEAST_REST_S, self.qos.in_hand * _REST_FOR_EACH_S), _LONGEST_REST_S)
        if self.connection.cycle.wake_in(rest, in_tick=in_tick):
            self._rests_until = time.monotonic() + rest

    def _set_misfits_aside(self) -> None:
        self.admission.set_misfits_aside(self._lists(sorted(self._acked)))

    def _want(self) -> int:
        if not self.takes or Channel.paused or self._waits or not self.qos.can_consume():
            return 0
        credit = self.qos.can_consume_max_estimate()
        return min(_MOST_AT_ONCE, self.consumer.room, _MOST_AT_ONCE if credit is None else credit)

    def _lists(self, queues: Sequence[str]) -> list[str]:
        prefix, name = self.global_keyprefix, self._q_for_pri  # type: ignore[attr-defined]  # as above
        return [f"{prefix}{name(queue, priority)}" for priority in self.priority_steps for queue in queues]

    def _queue(self, taken: Taken) -> str:
        return taken.source[len(self.global_keyprefix) :].rsplit(self.sep, 1)[0]

    def _client(self) -> Redis:
        pool = self.pool
        if self._commands is None or self._commands.connection_pool is not pool:
            # Not kombu's own client: that one would put `global_keyprefix` before one key of a script and no other.
            self._commands = Redis(connection_pool=pool)
        return self._commands

    @property
    def _waited_list(self) -> str:
        return self._lists([next(iter(self.active_queues))])[0]

    @property
    def _waits(self) -> bool:
        return bool(self._in_poll) and self._in_poll is self._waiting_on

    def _brpop_start(self, timeout: float | None = None) -> None:
        """Wait for the next message, in Redis. kombu's poller calls this whenever there is credit."""
        if not self.takes:
            super()._brpop_start(timeout)  # type: ignore[misc]  # as above
            return
        if Channel.paused or time.monotonic() < max(self._link.ask_again_at, self._rests_until):
            return
        connection = self.client.connection
        sock = connection._sock  # noqa: SLF001 - names this connection
        if self._waiting_id is None or self._waiting_id[0] is not sock:
            connection.send_command("CLIENT", "ID")
            self._waiting_id = sock, int(connection.read_response())
        wait = self.brpop_timeout if len(self.active_queues) == 1 else _SEVERAL_QUEUES_WAIT_S
        self._in_poll = self._waiting_on = connection
        self._brpop_sent_at = time.monotonic()
        connection.send_command("BLMOVE", self._waited_list, self.consumer.inbox, "RIGHT", "LEFT", wait or 0)

    def _brpop_read(self, **options: Any) -> bool:
        """The wait is over: deliver what came. It is in the inbox until the next turn files it."""
        if not self._waits:
            return bool(super()._brpop_read(**options))  # type: ignore[misc]  # as above
        try:
            raw = self._in_poll.read_response()
        except ResponseError as error:
            self._link.refused(error)
            raise Empty from error
        except BROKER_ERRORS:
            self._link.is_broken = True
            self.client.connection.disconnect()
            raise
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()  # type: ignore[attr-defined]  # as above
        if raw is None:
            raise Empty
        failpoint("after_wake")
        TAKEN.inc()
        self._deliver([self.consumer.arrived(raw)])
        self._rest(in_tick=False)
        return True

    def _on_connection_disconnect(self, connection: Any) -> None:
        # Redis may still move something for a BLMOVE whose reply nobody reads: this consumer must not send another.
        self._link.is_broken = self._link.is_broken or (self._waits and connection is self._in_poll)
        super()._on_connection_disconnect(connection)  # type: ignore[misc]  # as above

    def _stop_waiting(self) -> None:
        if not self._waits or self._waiting_id is None:
            return
        self._client().client_unblock(self._waiting_id[1])
        # What comes now stays in the inbox, which is handed back.
        with suppress(ResponseError):
            self._in_poll.read_response()
        self._in_poll = None
