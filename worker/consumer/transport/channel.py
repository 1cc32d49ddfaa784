"""kombu's Redis channel with our own way of consuming. See `worker.consumer.transport`."""

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from queue import Empty
from typing import Any, ClassVar, Final, TypeVar

import structlog
from kombu.exceptions import OperationalError
from kombu.transport import redis as stock
from kombu.utils.json import loads
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from typing_extensions import override

from contract.redis.connection import WrongServer, is_elsewhere, refusal_of
from contract.redis.keys import MAX_PARKED, Keys
from plumbing.failpoints import failpoint
from worker.consumer.transport.deliveries import Deliveries, Taken
from worker.consumer.transport.qos import Message, QoS
from worker.consumer.transport.screen import NewerVersion, Screen, Unfit
from worker.metrics import DEAD_LETTERS, TAKEN, TURNS

T = TypeVar("T")
_log = structlog.get_logger(__name__)

# The broker is away. kombu counts KeyError among these, which a bad message can raise as well.
_BROKER_ERRORS: Final = (RedisConnectionError, RedisTimeoutError, OperationalError, OSError)
# What Celery may raise about a message that the screen did not see through.
_MESSAGE_ERRORS: Final = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
_MOST_AT_ONCE: Final = 100
_ASK_AGAIN_AFTER_S: Final = 1.0
_RECONNECT_AFTER_S: Final = 5.0
"""After a reconnection that led to a server which is the wrong one as well."""
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

    heard: ClassVar[float] = 0.0
    """When Redis last answered a consumer of this process (`time.monotonic`). A beat of an event loop that runs makes
    this younger than `owner_ttl_ms`, work or not: what a watchdog needs to know."""
    reconnects_from: ClassVar[float] = 0.0
    """When a server that is not the one to ask is left again (`time.monotonic`)."""
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
        self._broken = self._left = False
        self._ask_again_at = self._rests_until = 0.0
        self._refusal = ""
        self._unbound: list[tuple[Any, ...]] = []
        self._newer: list[tuple[Taken, str]] = []
        super().__init__(*args, **kwargs)
        self.screen = Screen(self.task_names)

    @property
    def consumer(self) -> Deliveries:
        """What this channel holds in Redis."""
        if self._consumer is None:
            self._consumer = Deliveries(self._client, Keys(self.global_keyprefix + self.key_prefix), self.owner_ttl_ms)
        return self._consumer

    def turn(self) -> int:
        """Acknowledge what has gathered, take what the credit allows, deliver it; returns how many were taken."""
        if self._broken:
            raise RedisConnectionError("the connection that waits for messages broke")
        now = time.monotonic()
        if now < self._ask_again_at or (now < self._rests_until and not self.consumer.has_acks):
            return 0
        want = self._want()
        if not want and not (self._consumer and self._consumer.has_news):
            return 0
        lists = self._lists(self._queue_cycle.consume(len(self.active_queues))) if want else ()
        taken = self._ask(lambda: self.consumer.turn(want, lists, self._waited_list if want else "")) or []
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
            moved = self._ask(self._consumer.heartbeat)
            if moved:
                _log.warning("brought back the messages of dead consumers", messages=moved)
            if self.takes and not Channel.paused:
                self._sift()

    def leave(self) -> None:
        """Hand back everything that is not acknowledged. Once; later calls do nothing."""
        if self._left or self._consumer is None or not self._consumer.known:
            return
        self._left = True
        if not self._broken:
            try:
                self._stop_waiting()
                moved = self._consumer.leave()
            except (*_BROKER_ERRORS, ResponseError) as error:
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
            payload = self._admit(taken[0])
            self._park()
            if payload is not None:
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
        if took and not self.takes and not (self._left or self._broken):
            try:
                self._stop_waiting()
                self.consumer.drain()
            except (*_BROKER_ERRORS, ResponseError) as error:
                _log.warning("not drained", error=type(error).__name__)

    def _deliver(self, taken: Sequence[Taken]) -> None:
        admitted = [(one, payload) for one in taken if (payload := self._admit(one)) is not None]
        self._park()
        for one, payload in admitted:
            queue = self._queue(one)
            self._queue_cycle.rotate(queue)
            try:
                self.connection._deliver(payload, queue)  # noqa: SLF001 - how kombu's channels deliver
            except _BROKER_ERRORS:
                raise
            except _MESSAGE_ERRORS as error:
                self.qos.forget(one.tag)
                self._bury(one, f"Celery refused it: {type(error).__name__}")
            else:
                if queue not in self._acked:
                    self.consumer.ack(one.tag)

    def _admit(self, taken: Taken) -> dict[str, Any] | None:
        queue = self._queue(taken)
        try:
            if queue in self._acked or queue not in self._active_queues:
                fit = self.screen.check(taken.raw, taken.size)
                payload = {**fit.payload, "decoded": fit.content}
            else:
                payload = loads(taken.raw)
            payload["properties"]["delivery_tag"] = taken.tag
        except NewerVersion as newer:
            self._newer.append((taken, newer.task))
        except Unfit as unfit:
            self._bury(taken, str(unfit))
        except _MESSAGE_ERRORS as error:
            self._bury(taken, f"not a message: {type(error).__name__}")
        else:
            return payload
        return None

    def _bury(self, taken: Taken, reason: str) -> None:
        _log.warning("message set aside", reason=reason, queue=self._queue(taken), size=taken.size)
        if self._ask(lambda: self.consumer.bury(taken, reason)) is None:
            self.consumer.postpone(taken.tag)
        else:
            DEAD_LETTERS.labels("unfit").inc()

    def _park(self) -> None:
        """Set what is for newer workers aside, so that nothing behind it has to wait."""
        newer, self._newer = self._newer, []
        if not newer:
            return
        over = self._ask(lambda: self.consumer.park(newer))
        if over is None:
            for taken, _ in newer:
                self.consumer.postpone(taken.tag)
            return
        _log.info("parked for newer workers", messages=len(newer) - len(over))
        for taken in over:
            self._bury(taken, f"headers.task is of a newer version, and {MAX_PARKED} such messages are parked already")

    def _sift(self) -> None:
        moved, buried = self._ask(lambda: self.consumer.sift(self.screen.names or ())) or (0, 0)
        if moved:
            _log.info("took back what was parked", messages=moved)
        DEAD_LETTERS.labels("parked too long").inc(buried)
        if buried:
            _log.warning("parked for too long, set aside", messages=buried)

    def _rest(self, *, in_tick: bool) -> None:
        """Take nothing for a moment, or until enough in hand has ended: what comes meanwhile is taken together.

        The moment is about as long as what is in hand takes. A message that came alone is then filed and acknowledged
        in one turn, and no script of the consumer stands in the way of the one that leases its request.
        """
        rest = min(max(_LEAST_REST_S, self.qos.in_hand * _REST_FOR_EACH_S), _LONGEST_REST_S)
        if self.connection.cycle.wake_in(rest, in_tick=in_tick):
            self._rests_until = time.monotonic() + rest

    def _ask(self, question: Callable[[], T]) -> T | None:
        """Ask Redis; ``None`` when it refuses, which is tried again after a while."""
        try:
            answer = question()
        except _BROKER_ERRORS:
            self._broken = True
            raise
        except ResponseError as error:
            self._refused(error)
            self._leave_wrong_server(error)
            return None
        Channel.heard = time.monotonic()
        if self._refusal:
            _log.warning("Redis takes commands again")
            self._refusal = ""
        return answer

    def _leave_wrong_server(self, error: ResponseError) -> None:
        """Have Celery reconnect: where it does, another server may answer. But not without end, where none does."""
        now = time.monotonic()
        if is_elsewhere(error) and now >= Channel.reconnects_from:
            Channel.reconnects_from = now + _RECONNECT_AFTER_S
            self._broken = True
            raise WrongServer(f"{refusal_of(error)}: another server is the one to ask") from error

    def _refused(self, error: ResponseError) -> None:
        self._ask_again_at = time.monotonic() + _ASK_AGAIN_AFTER_S
        refusal = refusal_of(error)
        if refusal != self._refusal:
            _log.error("Redis refuses", error=type(error).__name__, refusal=refusal)
            self._refusal = refusal
        if refusal == "WRONGTYPE":
            self._set_misfits_aside()

    def _set_misfits_aside(self) -> None:
        try:
            for reason in self.consumer.set_misfits_aside(self._lists(sorted(self._acked))):
                _log.error("key set aside", reason=reason)
                DEAD_LETTERS.labels("no list").inc()
        except ResponseError as error:
            _log.error("key not set aside", error=type(error).__name__)

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
        if Channel.paused or time.monotonic() < max(self._ask_again_at, self._rests_until):
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
            self._refused(error)
            self._leave_wrong_server(error)
            raise Empty from error
        except _BROKER_ERRORS:
            self._broken = True
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
        self._broken = self._broken or (self._waits and connection is self._in_poll)
        super()._on_connection_disconnect(connection)  # type: ignore[misc]  # as above

    def _stop_waiting(self) -> None:
        if not self._waits or self._waiting_id is None:
            return
        self._client().client_unblock(self._waiting_id[1])
        # What comes now stays in the inbox, which is handed back.
        with suppress(ResponseError):
            self._in_poll.read_response()
        self._in_poll = None
