"""A Celery pool that runs coroutines in the worker's event loop.

Celery awaits nothing, and its threads pool spends more on handing over than these tasks spend on working. Here the
consumer's thread only decodes a message and gives the coroutine to the loop; what has finished comes back in groups,
one wake-up for all of them, and is acknowledged and announced in the consumer's thread, as Celery expects it.

What Celery gives a task elsewhere is here too: the events that Flower shows, late acknowledgement, time limits, retry,
ignore and reject, and the signals that tracing libraries listen to, with the request that each coroutine works on as
its ``task.request``. A task that is no coroutine runs in a thread.
"""

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from contextvars import ContextVar
from typing import Any, Final, NamedTuple

import structlog
from billiard.einfo import ExceptionInfo
from celery import Task, signals
from celery.app.task import Context
from celery.concurrency.base import BasePool
from celery.exceptions import Ignore, Reject, Retry
from celery.utils.serialization import get_pickleable_exception
from kombu.serialization import loads
from kombu.utils.encoding import safe_repr

from plumbing.logs import frames_of
from worker.consumer.transport.screen import read_json

_log = structlog.get_logger(__name__)
_ACCEPT: Final = frozenset({"application/json"})
_GIVE_UP_WITHIN_S: Final = 6.0
_ENDINGS_WAIT_S: Final = 0.05
_SUCCEEDED, _FAILED = 0, 1

_current: Final[ContextVar[dict[str, Any] | None]] = ContextVar("request", default=None)
"""What Celery knows of the message behind the coroutine that runs."""


def message_header(name: str) -> str | None:
    """A text that came with the message behind the coroutine that runs."""
    value = (_current.get() or {}).get(name)
    return value if isinstance(value, str) else None


class CoroutineTask(Task[Any, str]):
    """A task whose work is a coroutine. In any other pool it blocks its thread or process until that has ended."""

    abstract = True
    start: Callable[..., Coroutine[Any, Any, str]]
    """Makes the coroutine of the message's kwargs."""
    event_loop: Callable[[], asyncio.AbstractEventLoop]
    """The running loop to run it in."""

    @property
    def request(self) -> Context:
        """The message's headers (``traceparent`` …) and what Celery adds to them: of the coroutine that asks."""
        current = _current.get()
        return super().request if current is None else Context(current)

    def run(self, **kwargs: Any) -> str:
        """Run to the end, for a pool that knows no coroutines."""
        return asyncio.run_coroutine_threadsafe(self.start(**kwargs), self.event_loop()).result()


class _Run(NamedTuple):
    task: "Task[Any, Any]"
    task_id: str
    request: dict[str, Any]
    work: Callable[[], Coroutine[Any, Any, Any]]
    timeout_s: float | None
    on_end: Callable[[tuple[int, Any, float]], None]
    on_timeout: Callable[[bool, float], None]


class AsyncioPool(BasePool):
    """``worker_pool = "worker.consumer.pool:AsyncioPool"``; `limit` coroutines run at a time: the prefetch count."""

    signal_safe = False
    body_can_be_buffer = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._hub: Any = None
        self._loops: dict[asyncio.AbstractEventLoop, deque[_Run]] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._ended: deque[Callable[[], None]] = deque()
        self._has_ended = threading.Event()
        self._wakes: asyncio.TimerHandle | None = None
        self._woken = False
        self._count = 0

    def register_with_event_loop(self, loop: Any) -> None:
        """Remember the hub of the consumer's thread, where endings are handled."""
        self._hub = loop
        signals.worker_shutting_down.connect(self._come_round)

    def on_apply(  # noqa: D102, PLR0917 - BasePool's
        self,
        target: Callable[..., tuple[int, Any, float]],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        callback: Callable[..., None],
        accept_callback: Callable[[int, float], None] | None = None,
        timeout_callback: Callable[[bool, float], None] | None = None,
        timeout: float | None = None,
        **_: object,
    ) -> None:
        name, task_id, request, body, content_type, content_encoding = args
        task = self.app.tasks[name]
        if accept_callback:
            accept_callback(os.getpid(), time.monotonic())
        if isinstance(task, CoroutineTask):

            def work() -> Coroutine[Any, Any, Any]:
                return task.start(**_arguments(body, content_type, content_encoding))
        else:

            def work() -> Coroutine[Any, Any, Any]:
                return asyncio.to_thread(target, *args, **kwargs)

        self._count += 1
        run = _Run(task, task_id, request, work, timeout, callback, timeout_callback or _ignore)
        self._hand_over(run, task.event_loop() if isinstance(task, CoroutineTask) else self._any_loop())

    def on_stop(self) -> None:
        """Wait for what runs, acknowledging it as it ends. What takes too long is cancelled, to end in order too.

        Too long is Celery's ``worker_soft_shutdown_timeout``, at a warm shutdown as at a soft one.
        """
        self._handle_endings_for(self.app.conf.worker_soft_shutdown_timeout)
        if self._count:
            _log.warning("cancelled for shutdown", tasks=self._count)
            for loop in self._loops:
                loop.call_soon_threadsafe(self._cancel_all)
            self._handle_endings_for(_GIVE_UP_WITHIN_S)

    def _handle_endings_for(self, seconds: float) -> None:
        give_up_at = time.monotonic() + seconds
        while self._count and time.monotonic() < give_up_at:
            self._has_ended.wait(0.1)
            self._handle_endings()

    def _cancel_all(self) -> None:
        for running in self._running:
            running.cancel()

    def _any_loop(self) -> asyncio.AbstractEventLoop:
        tasks = self.app.tasks.values()
        return next(task.event_loop() for task in tasks if isinstance(task, CoroutineTask))

    def _hand_over(self, run: _Run, loop: asyncio.AbstractEventLoop) -> None:
        waiting = self._loops.setdefault(loop, deque())
        waiting.append(run)
        # One wake-up is enough for all that has gathered before the loop comes round.
        if len(waiting) == 1:
            loop.call_soon_threadsafe(self._start_waiting, loop, waiting)

    def _start_waiting(self, loop: asyncio.AbstractEventLoop, waiting: deque[_Run]) -> None:
        for _ in range(len(waiting)):
            running = loop.create_task(self._run(waiting[0]))
            self._running.add(running)
            running.add_done_callback(self._running.discard)
            waiting.popleft()
        if waiting:
            loop.call_soon(self._start_waiting, loop, waiting)

    async def _run(self, run: _Run) -> None:
        started = time.monotonic()
        _current.set(run.request)
        signals.task_prerun.send(sender=run.task, task_id=run.task_id, task=run.task, args=(), kwargs={})
        state, result = _FAILED, None
        try:
            result = await (run.work() if run.timeout_s is None else _within(run.timeout_s, run.work()))
        except TimeoutError as error:
            if run.timeout_s is None or time.monotonic() - started < run.timeout_s:
                result = _failure(run, error)
            else:
                limit = run.timeout_s
                self._end(lambda: run.on_timeout(False, limit))  # noqa: FBT003 - Celery's own signature
                return
        except asyncio.CancelledError:
            result = _failure(run, Reject("cancelled for shutdown", requeue=True))
        except Exception as error:  # noqa: BLE001 - whatever a task raises becomes its result
            result = _failure(run, error)
        else:
            if isinstance(run.task, CoroutineTask):
                state = _SUCCEEDED
                signals.task_success.send(sender=run.task, result=result)
                result = safe_repr(result)
            else:
                self._end(lambda: run.on_end(result))
                return
        finally:
            signals.task_postrun.send(sender=run.task, task_id=run.task_id, task=run.task, args=(), kwargs={})
        runtime = time.monotonic() - started
        self._end(lambda: run.on_end((state, result, runtime)))

    def _end(self, ending: Callable[[], None]) -> None:
        self._ended.append(ending)
        self._has_ended.set()
        # A message is acknowledged, and the next one taken, with as many others as possible: once half of what may be
        # in hand has ended, or all that is. While the rest runs, nobody misses them.
        if 2 * len(self._ended) >= self.limit or len(self._ended) >= self._count:
            self._wake_consumer()
        elif self._wakes is None:
            self._wakes = asyncio.get_running_loop().call_later(_ENDINGS_WAIT_S, self._wake_consumer)

    def _wake_consumer(self) -> None:
        if self._wakes is not None:
            self._wakes.cancel()
            self._wakes = None
        if self._hub is not None and not self._woken:
            self._woken = True
            self._hub.call_soon(self._handle_endings)

    def _come_round(self, **_: object) -> None:
        """Celery asks whether it is to stop when the hub comes round: an idle one does so once a second."""
        # By way of another thread: the signal may have interrupted the hub while it holds its own lock.
        self._any_loop().call_soon_threadsafe(self._hub.call_soon, _ignore)

    def _handle_endings(self) -> None:
        self._has_ended.clear()
        self._woken = False
        failed: Exception | None = None
        while self._ended:
            try:
                self._ended[0]()
            except Exception as error:  # noqa: BLE001 - the others must still be acknowledged
                failed = error
            self._count -= 1
            self._ended.popleft()
        if failed is not None:
            raise failed

    def _get_info(self) -> dict[str, Any]:
        return {**super()._get_info(), "running": self._count}  # type: ignore[misc]


async def _within(seconds: float, work: Coroutine[Any, Any, Any]) -> Any:
    async with asyncio.timeout(seconds):
        return await work


def _arguments(body: Any, content_type: str, content_encoding: str) -> dict[str, Any]:
    """The kwargs of a message of protocol 2."""
    if content_type == "application/json" and isinstance(body, bytes):
        _, arguments, _ = read_json(body)
    else:
        _, arguments, _ = loads(body, content_type, content_encoding, accept=_ACCEPT)
    found: dict[str, Any] = arguments
    return found


def _failure(run: _Run, error: Exception) -> ExceptionInfo:
    info = ExceptionInfo((type(error), error, error.__traceback__))
    info.exception = get_pickleable_exception(error)
    if isinstance(error, run.task.throws):
        # The task says that it failed; where in our code it says so helps nobody who looks at it in Flower.
        info.traceback = None
    elif not isinstance(error, (Ignore, Reject, Retry)):
        _log.error("task failed", task_id=run.task_id, error=type(error).__name__, frames=frames_of(error))
    signals.task_failure.send(
        sender=run.task, task_id=run.task_id, exception=error, args=(), kwargs={}, traceback=None, einfo=info
    )
    return info


def _ignore(*_: object) -> None:
    """No callback was given."""
