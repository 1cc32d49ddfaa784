"""The queue, wherever it is: a list beside the pending entries, or another server. Nobody else asks which.

Beside them, one script writes an entry and pushes its message. Elsewhere the entry is written first, then the message
is sent: a death between the two leaves the request without an owner, and a reaper sends it again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from celery import Celery
from kombu.exceptions import KombuError

from contract.message import PUBLISH_TASK_NAME, TASK_NAME, build_message, send_message
from contract.settings import Settings
from plumbing.outages import Outage

T = TypeVar("T")
Write = Callable[[bytes], Awaitable[T]]
"""Writes to Redis, and pushes the message that it is given; an empty one is sent afterwards."""


class BrokerAway(Exception):
    """The queue's server does not answer, or does not take the message."""


class Queue:
    """Where messages wait, as whoever puts one there sees it."""

    def __init__(self, celery: Celery, settings: Settings) -> None:
        self.celery = celery
        self.is_beside = settings.one_redis
        """Whether it is a list beside the pending entries."""
        self.outage = Outage("broker", settings.broker)
        self._timeout_s = settings.redis_timeout_s

    async def put(
        self,
        write: Write[T],
        request_id: str,
        summary: str,
        headers: dict[str, str] | None = None,
        *,
        task: str = TASK_NAME,
        is_wanted: Callable[[T], bool] = bool,
    ) -> T:
        """Put a request's message into the queue, together with what `write` writes; returns what that returned.

        Should another server be away, nothing is lost: the entry is pending, and a reaper sends its message later.

        Args:
            write: writes the entry.
            request_id: of the request.
            summary: what Flower shows.
            headers: more of Celery's headers.
            task: what is to be done with the request.
            is_wanted: whether a message is to be sent after what `write` returned.
        """
        if self.is_beside:
            return await write(build_message(self.celery, request_id, summary, headers, task=task))
        written = await write(b"")
        if is_wanted(written):
            try:
                await self._send(request_id, summary, headers, task=task)
            except BrokerAway as away:
                self.outage.lasts(away.__cause__ or away)
            else:
                self.outage.is_over()
        return written

    async def ask(self, write: Write[bool], request_id: str) -> None:
        """The same for the question to a worker whether PostgreSQL knows a request, which nobody sends again.

        Raises:
            BrokerAway: it was not sent.
        """
        if self.is_beside:
            await write(build_message(self.celery, request_id, task=PUBLISH_TASK_NAME))
        elif await write(b""):
            await self._send(request_id, task=PUBLISH_TASK_NAME)

    async def reach(self) -> None:
        """Raises `BrokerAway` where the queue is on another server, and that does not answer."""
        if not self.is_beside:
            await self._outside(self._connect)

    async def _send(
        self, request_id: str, summary: str = "", headers: dict[str, str] | None = None, *, task: str = TASK_NAME
    ) -> None:
        await self._outside(lambda: send_message(self.celery, request_id, summary, headers, task=task))

    async def _outside(self, call: Callable[[], None]) -> None:
        try:
            await asyncio.to_thread(call)
        except (KombuError, OSError) as error:
            raise BrokerAway from error

    def _connect(self) -> None:
        with self.celery.connection_for_write(connect_timeout=self._timeout_s) as connection:
            connection.ensure_connection(max_retries=1)
