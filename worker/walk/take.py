"""From message to lease: what a worker does before a request is in its hands, and with a message that gets no further.

Until its entry is pending, a direct message is all there is of its request. So it is acknowledged only once a lease,
a report or a dead letter has its place.
"""

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

import structlog
from celery.exceptions import Reject
from kombu.exceptions import KombuError
from pydantic import ValidationError

from contract.answer.report import Report
from contract.credentials import IDENTITY_KEYS
from contract.message import QUEUE_NAME, TaskArguments, build_direct_message, send_direct_message
from contract.redis.connection import RedisError
from contract.redis.requests import QueueFull
from plumbing.bounded import Recent
from plumbing.failpoints import async_failpoint
from plumbing.logs import frames_of
from worker.consumer.transport.letter import dead_letter
from worker.custody.leases import Lease
from worker.metrics import DEAD_LETTERS
from worker.postgres import ledger
from worker.postgres.errors import DatabaseError, is_everybodys, is_retryable
from worker.walk.adopt import adopt

if TYPE_CHECKING:
    from worker.runtime import Runtime

_log = structlog.get_logger(__name__)
_PAUSE_S: Final = 1.0
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 10.0
_REMEMBERED: Final = 10_000


class BatchFailed(Exception):
    """A request ended with ``result`` false. The text is the envelope's code and message; no values."""

    def __repr__(self) -> str:
        """Flower shows this: what a caller did wrong is no matter of Python's."""
        return str(self)


class AnotherSuspect(Exception):
    """Another request that was started before and never ended runs in this process."""


class Paused(Exception):
    """This process takes nothing while PostgreSQL fails every request."""


class Intake:
    """Whether this process takes requests: not while PostgreSQL fails them all alike.

    A missing right, a missing table, a full disk would fail every request, so none is to blame and no start of one
    counts. The process takes nothing then, for a time that grows, and until a rehearsal goes well. Which requests meet
    such a fault is remembered: one that meets it again, while others have been written, is to blame after all.

    One per worker process; used from its event loop, `reason` from anywhere. `rehearse` does what every request needs,
    and raises what a request would meet.
    """

    def __init__(self, rehearse: Callable[[], Awaitable[None]]) -> None:
        self.reason = ""
        """Why nothing is taken; empty while requests are."""
        self._rehearse = rehearse
        self._paused = asyncio.Event()
        self._rounds = self._written = 0
        self._met: Recent[str, int] = Recent(_REMEMBERED)

    def require_open(self) -> None:
        """Raises `Paused` while nothing is taken."""
        if self.reason:
            raise Paused

    def wrote(self) -> None:
        """A request was written, so what fails others is not everybody's fault."""
        self._written += 1
        self._rounds = 0

    def pause(self, error: Exception) -> None:
        """Take nothing until it is over."""
        if not self.reason:
            _log.error("takes no requests", reason=str(error))
        self.reason = str(error)
        self._paused.set()

    def is_to_blame(self, request_id: str, error: Exception) -> bool:
        """Pause for what would fail every request; whether it is this one's doing after all."""
        before = self._met.get(request_id)
        self._met.put(request_id, self._written)
        self.pause(error)
        return before is not None and self._written > before

    async def run(self) -> None:
        """End each pause, for ever."""
        while True:
            await self._paused.wait()
            looks = 1
            while not await self._is_over():
                looks += 1
            if looks > 1:
                self._rounds = 0  # a rehearsal does meet this fault, so it is over and not only out of sight
            self._paused.clear()
            self.reason = ""
            _log.warning("takes requests again")

    async def _is_over(self) -> bool:
        pause_s = min(_FIRST_PAUSE_S * 2**self._rounds, _LONGEST_PAUSE_S)
        self._rounds = min(self._rounds + 1, 10)
        await asyncio.sleep(random.uniform(0.5, 1.0) * pause_s)  # noqa: S311 - so that workers do not come back as one
        try:
            await self._rehearse()
        except Exception as error:  # noqa: BLE001 - whatever it is, a request would meet it
            if str(error) != self.reason:
                _log.error("still takes no requests", reason=str(error))
            self.reason = str(error) or type(error).__name__
            return False
        return True


def arguments_of(kwargs: dict[str, Any]) -> TaskArguments:
    """What a message says; raises `BatchFailed` where it is not for this task."""
    try:
        return TaskArguments.model_validate(kwargs)
    except ValidationError:
        raise BatchFailed("the message's arguments are not those of this task") from None


async def take(runtime: "Runtime", arguments: TaskArguments, held: AsyncExitStack) -> Lease | Report:
    """The lease, or the report of a request that ended long ago or ends here and now.

    A request that was started before and never ended may be the one that killed its worker, or only have stood beside
    it. So of those one at a time runs in a process: else the innocent ones would be given up together with it. `held`
    is left when the work is over.

    Raises:
        AnotherSuspect: it is such a request, and has waited for its turn for long enough.
        NotTrusted: a message that brings its own batch is not provably a known sender's.
        Paused: PostgreSQL fails every request, so nothing is taken.
        DatabaseError: PostgreSQL is away or refuses what the message holds.
        redis.exceptions.RedisError: Redis is away.
        QueueFull: `max_pending` requests are unfinished.
    """
    await async_failpoint("after_take", arguments.request_id)
    runtime.intake.require_open()
    request_id, token = arguments.request_id, uuid.uuid4().hex
    lease = await runtime.leases.lease(request_id, token)
    if lease.state == "unknown":
        if (report := await _unknown(runtime, arguments)) is not None:
            return report
        lease = await runtime.leases.lease(request_id, token)
    if lease.state == "suspect":
        try:
            async with asyncio.timeout(_PAUSE_S):
                await held.enter_async_context(runtime.suspects)
        except TimeoutError:
            raise AnotherSuspect from None
        lease = await runtime.leases.lease(request_id, token, alone=True)
    return lease


async def not_taken(runtime: "Runtime", arguments: TaskArguments, error: Exception) -> str:
    """Put back a message that `take` failed on, or set it aside when it has failed too often by its own doing.

    Returns:
        The line Flower shows: the message is among the dead letters or in the queue once more, or its entry
        is pending and the reaper goes on.

    Raises:
        celery.exceptions.Reject: it goes back.
    """
    try:
        if is_own_fault(runtime, arguments.request_id, error) and await _give_up(runtime, arguments, error):
            return "set aside"
    except Exception as another:  # noqa: BLE001 - whatever it is, the message must not be lost
        _log.warning("not set aside", request_id=arguments.request_id, error=type(another).__name__)
    # RabbitMQ delivers again at once what is rejected: without a pause that is a loop.
    await asyncio.sleep(_PAUSE_S)
    if arguments.is_direct and runtime.settings.broker_is_rabbitmq and await _send_again(runtime, arguments):
        return "sent again"
    raise Reject(type(error).__name__, requeue=True) from None


def is_own_fault(runtime: "Runtime", request_id: str, error: Exception) -> bool:
    """Whether an error may be the request's own doing, which is not tried for ever.

    It is not when a server was away or full, nor when PostgreSQL would fail any request; then this process pauses.
    """
    if is_everybodys(error):
        return runtime.intake.is_to_blame(request_id, error)
    return not (isinstance(error, (RedisError, QueueFull, AnotherSuspect, Paused)) or is_retryable(error))


async def _unknown(runtime: "Runtime", arguments: TaskArguments) -> Report | None:
    """A request without a pending entry in Redis: it ended long ago, or its sender has nothing of ours."""
    entry = await ledger.load(runtime.engine, arguments.request_id)
    if entry is not None:
        if entry.report is not None:
            await runtime.leases.put_back(entry.report)
        return entry.report
    if arguments.is_direct:
        return await adopt(runtime.leases, runtime.engine, arguments, runtime.senders)
    _log.warning("message of an unknown request dropped", request_id=arguments.request_id)
    return None


async def _send_again(runtime: "Runtime", arguments: TaskArguments) -> bool:
    """Put a copy behind what waits, so that this one can be acknowledged; False when the broker does not take it.

    A quorum queue drops what was put back more often than its delivery limit says, which is 20 times by default since
    RabbitMQ 4.0. What is pending is sent again by the reaper; of a direct message nothing would be left.
    """
    try:
        await asyncio.to_thread(send_direct_message, runtime.celery, _without_secrets(arguments))
    except (KombuError, OSError):
        return False
    return True


async def _give_up(runtime: "Runtime", arguments: TaskArguments, error: Exception) -> bool:
    """Count that `take` failed on it; False while it may be tried again, else it is set aside."""
    request_id, name = arguments.request_id, type(error).__name__
    times = await runtime.leases.count_failed_take(request_id)
    frames = [] if isinstance(error, DatabaseError) else frames_of(error)
    _log.error("not taken", request_id=request_id, error=name, times=times, frames=frames)
    if times < runtime.settings.max_attempts:
        return False
    if arguments.is_direct:
        message = build_direct_message(runtime.celery, _without_secrets(arguments))
        letter = dead_letter(message, queue=QUEUE_NAME, reason=f"could not be taken: {name}")
        await runtime.leases.set_aside(request_id, letter)
        DEAD_LETTERS.labels("not taken").inc()
    return True


def _without_secrets(arguments: TaskArguments) -> TaskArguments:
    if arguments.batch is None:
        return arguments
    batch = {key: value for key, value in arguments.batch.items() if key not in IDENTITY_KEYS}
    return arguments.model_copy(update={"batch": batch})
