"""Requests that Redis knows no more: a worker looks them up in PostgreSQL and puts the report back.

The shim has no database. It leaves one message per request_id at the queue's head, and a worker answers through Redis:
with the report, or with a note that there is none. Whoever guesses ids gains nothing and costs little: only well-formed
ids are asked for, each once at a time and then not again while its note stands, and few at once.

A request of another application is asked for all the same, though Redis knows it: neither words nor time tell it from
one that never was.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

import structlog

from api_shim.refusals import BrokerUnavailable, Expired, NotFound, RecallUnanswered
from api_shim.waiters import Waiters
from contract.message import QUEUE_NAME, REQUEST_ID_PATTERN
from contract.queue import BrokerAway, Queue
from contract.redis.records import NOTE_TTL_S, Note
from contract.redis.requests import Requests
from contract.redis.script import Script


class _Owned(Protocol):
    @property
    def bk_app_code(self) -> str: ...


T = TypeVar("T", bound=_Owned)
_is_id: Final = re.compile(REQUEST_ID_PATTERN).fullmatch
_log: Final = structlog.get_logger(__name__)
_ASK: Final = Script("api_shim/ask.lua", keys="asked queue", args="ttl_ms message")
_MOST_AT_ONCE: Final = 50
_WAIT_S: Final = 3.0
_LOOK_AGAIN_S: Final = 0.5
_ASK_AGAIN_MS: Final = 5_000


class Recall:
    """What one process has workers put back."""

    def __init__(self, requests: Requests, waiters: Waiters, queue: Queue) -> None:
        self._requests = requests
        self._waiters = waiters
        self._queue = queue
        self._ask = requests.client.register_script(_ASK)
        self._open = 0

    async def find(self, request_id: str, bk_app_code: str, load: Callable[[str], Awaitable[T | None]]) -> T:
        """A request or a job of this application as `load` finds it in Redis, if need be once a worker has put it back.

        Raises:
            NotFound: there is none under that id.
            Expired: it has ended and its report is gone.
            RecallUnanswered: no worker has answered in time, or too many others are asked for.
            BrokerUnavailable: the queue cannot be reached.
        """
        if not _is_id(request_id):
            raise NotFound
        found = await load(request_id)
        if found is not None and found.bk_app_code == bk_app_code:
            return found
        if found is not None:
            _log.warning("request of another application asked for", request_id=request_id, bk_app_code=bk_app_code)
        if await self._is_unknown(request_id, bk_app_code):
            raise NotFound
        if self._open >= _MOST_AT_ONCE:
            raise RecallUnanswered(_WAIT_S)
        self._open += 1
        try:
            return await self._put_back(request_id, bk_app_code, load)
        finally:
            self._open -= 1

    async def _put_back(self, request_id: str, bk_app_code: str, load: Callable[[str], Awaitable[T | None]]) -> T:
        give_up_at = asyncio.get_running_loop().time() + _WAIT_S
        async with self._waiters.hearing(request_id) as heard:
            await self._send(request_id)
            while asyncio.get_running_loop().time() < give_up_at:
                is_answered = await heard(_LOOK_AGAIN_S)
                # The note is read first: what ends between the two takes its note away and leaves its report.
                is_unknown = await self._is_unknown(request_id, bk_app_code)
                found = await load(request_id)
                if found is not None and found.bk_app_code == bk_app_code:
                    return found
                if is_unknown:
                    raise NotFound
                if is_answered and not self._waiters.is_released:
                    # Of another application, or a job where a request is looked for. Not even its kind is told.
                    unseen = self._requests.keys.unseen(bk_app_code, request_id)
                    await self._requests.client.set(unseen, b"", ex=NOTE_TTL_S)
                    raise NotFound
        raise RecallUnanswered(_WAIT_S)

    async def _is_unknown(self, request_id: str, bk_app_code: str) -> bool:
        keys = self._requests.keys
        note, unseen = await self._requests.client.mget(keys.unknown(request_id), keys.unseen(bk_app_code, request_id))
        if note is not None:
            _refuse_expired(Note.load(note), bk_app_code)
        return note is not None or unseen is not None

    async def _send(self, request_id: str) -> None:
        keys = [self._requests.keys.asked(request_id), QUEUE_NAME]
        try:
            await self._queue.ask(lambda message: self._ask(keys, [_ASK_AGAIN_MS, message]), request_id)
        except BrokerAway:
            raise BrokerUnavailable from None


def _refuse_expired(note: Note, bk_app_code: str) -> None:
    """Whether there ever was a report is only for its own application to know."""
    if note.status is not None and note.bk_app_code == bk_app_code:
        raise Expired(note.status)
