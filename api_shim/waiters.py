"""Long polls that cost Redis nothing: one subscription a process, woken by the finished request's id.

Pub/sub may lose a message (a reconnect, a full buffer), so a shared MGET over everything that is waited for repairs
that once a second. A thousand waiters are one connection and one MGET a second.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import redis.asyncio as aioredis
from redis.exceptions import RedisError

from contract.answer.report import Report
from contract.redis.connection import WrongServer
from contract.redis.records import read_done
from contract.redis.requests import Requests, read_report
from plumbing.cancel import cancel_and_wait
from plumbing.outages import Outage

_REPAIR_S = 1.0
_RECONNECT_S = 0.5
_MOST_UNENDED = 10_000


class Waiters:
    """Everybody in this process who waits for a request to end."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._futures: dict[str, set[asyncio.Future[Report | None]]] = defaultdict(set)
        self._events: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._unended: dict[str, str] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.is_released = False
        """Whether nobody may be kept waiting any more."""

    @property
    def count(self) -> int:
        """How many waits are open."""
        return sum(len(futures) for futures in self._futures.values())

    async def __aenter__(self) -> "Waiters":
        """Subscribe and start repairing."""
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._repair())]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop; open waits run into their time-out."""
        await cancel_and_wait(self._tasks)

    def release(self) -> None:
        """Let every open wait end now, and every later one at once.

        By a result and not by cancelling: a cancel that meets an answer of Redis gets lost (`plumbing.cancel`).
        """
        self.is_released = True
        for futures in self._futures.values():
            for future in futures:
                _settle(future, None)
        for events in self._events.values():
            for event in events:
                event.set()

    def note_submitted(self, request_id: str, bk_app_code: str) -> None:
        """Listen for the end of a request that is about to be submitted: it may end before its submitter hears more."""
        self._unended[request_id] = bk_app_code
        if len(self._unended) > _MOST_UNENDED:
            del self._unended[next(iter(self._unended))]

    def is_unended(self, request_id: str, bk_app_code: str) -> bool:
        """Whether this process has submitted the request for that application and has not heard of its end.

        Then who expects it need not ask Redis first; an end that was said and not heard is found out all the same.
        """
        return self._unended.get(request_id) == bk_app_code

    @asynccontextmanager
    async def expecting(
        self, request_id: str, given_up: "asyncio.Future[None] | None" = None
    ) -> AsyncIterator[Callable[[float], Awaitable[Report | None]]]:
        """Inside the block, ``await ended(seconds)`` gives the stored report as soon as it is there.

        None when the time is over, when `given_up` is done, or when released.
        A report that is saved before the block begins is for the caller to look for, inside the block.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Report | None] = loop.create_future()
        self._futures[request_id].add(future)
        if given_up is not None:
            given_up.add_done_callback(lambda _: _settle(future, None))

        async def ended(seconds: float) -> Report | None:
            if self.is_released:
                return None
            timer = loop.call_later(seconds, _settle, future, None)
            try:
                return await future
            finally:
                timer.cancel()

        try:
            yield ended
        finally:
            futures = self._futures[request_id]
            futures.discard(future)
            if not futures:
                del self._futures[request_id]

    @asynccontextmanager
    async def hearing(self, request_id: str) -> AsyncIterator[Callable[[float], Awaitable[bool]]]:
        """Inside the block, ``await heard(seconds)`` tells whether anything was said about the request meanwhile."""
        event = asyncio.Event()
        self._events[request_id].add(event)

        async def heard(seconds: float) -> bool:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await event.wait()
            was_set = event.is_set()
            event.clear()
            return was_set

        try:
            yield heard
        finally:
            self._events[request_id].discard(event)
            if not self._events[request_id]:
                del self._events[request_id]

    async def _wake(self, request_ids: list[str]) -> None:
        for request_id, report in (await self._requests.load_finished(request_ids)).items():
            self._answer(request_id, report)

    def _answer(self, request_id: str, report: Report | ValueError) -> None:
        if isinstance(report, ValueError):  # its callers' waits run out
            return
        if not report.status.is_final:  # its rows are there, and its caller waits for CMDB's ids
            return
        for future in self._futures.get(request_id, ()):
            _settle(future, report)

    async def _listen(self) -> None:
        outage = Outage("redis", self._requests.settings.redis_url)
        while True:
            try:
                async with self._requests.client.pubsub(ignore_subscribe_messages=True) as subscription:
                    await subscription.subscribe(self._requests.keys.done_channel)
                    outage.is_over()
                    while True:
                        await self._next(subscription)
            except (RedisError, OSError) as error:
                outage.lasts(error)
                await asyncio.sleep(_RECONNECT_S)

    async def _next(self, subscription: "aioredis.client.PubSub") -> None:
        message = await subscription.get_message(timeout=_REPAIR_S)
        if subscription.connection and subscription.connection.should_reconnect():
            raise WrongServer("others have found that this is not the server to listen to")
        if message is None:
            return
        said = read_done(message["data"])
        for request_id, report in said.items():
            self._unended.pop(request_id, None)
            for event in self._events.get(request_id, ()):
                event.set()
            if report is not None and request_id in self._futures:
                self._answer(request_id, read_report(request_id, report))
        await self._wake([id_ for id_, report in said.items() if report is None and id_ in self._futures])

    async def _repair(self) -> None:
        while True:
            await asyncio.sleep(_REPAIR_S)
            with contextlib.suppress(RedisError, OSError):
                await self._wake(list(self._futures))


def _settle(future: asyncio.Future[Report | None], report: Report | None) -> None:
    if not future.done():
        future.set_result(report)
