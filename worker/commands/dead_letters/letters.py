"""The dead letters as an operator sees them: read them, start what was given up anew, put a message back, drop.

Sending again is safe at every point of failure. A request's letter and report go in the step that writes its pending
entry again, and PostgreSQL's row of its end goes in a transaction around that step: a worker that is quicker waits
for it, and if it does not commit, that worker finds the request ended as before and writes the letter again.
"""

import asyncio
import base64
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final, Literal, cast

import orjson
from kombu.exceptions import KombuError

from contract.answer.status import JobPart
from contract.codes import Code
from contract.message import QUEUE_NAME
from contract.queue import Queue
from contract.redis.records import BEGIN_ENTRY, PendingEntry
from contract.redis.requests import Requests, moment
from contract.redis.script import Script
from worker.postgres import ledger
from worker.postgres.engine import Engine

_PAGE: Final = 50
_REVIVE: Final = Script(
    "worker/commands/dead_letters/revive.lua",
    keys="req pending queue result kept dead",
    args="id letter message deadline_ms created_ms first_field…",
    parts=BEGIN_ENTRY,
)
_PUSH: Final = Script("worker/commands/dead_letters/push.lua", keys="dead queue", args="letter message")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One entry of the list.

    Attributes:
        id: of the letter; a request's is its request_id.
        kind: ``message`` was set aside unread, ``request`` was given up after too many starts.
        at: when it was set aside.
        reason: why, without any value of the message.
        about: what else the letter says, by name; neither the message nor the payload.
        stored: the letter's bytes.
    """

    id: str
    kind: Literal["message", "request"]
    at: datetime
    reason: str
    about: dict[str, Any]
    stored: bytes

    @classmethod
    def load(cls, stored: bytes) -> "DeadLetter":
        """What `contract.redis.records.letter_of` or `worker.consumer.transport.letter.dead_letter` wrote."""
        letter = orjson.loads(stored)
        letter.pop("raw", None)
        about = {name: letter[name] for name in letter.keys() - {"id", "kind", "at", "reason"}}
        return cls(letter["id"], letter["kind"], moment(letter["at"]), letter["reason"], about, stored)

    @property
    def subject(self) -> str:
        """What it is about, in a few words."""
        about = self.about
        if self.kind == "request":
            return f"biz={about['biz']} module={about['module']} instances={about['count']} app={about['app']}"
        return f"{about['size']} bytes from {about['queue']}"

    @property
    def raw(self) -> bytes:
        """The bytes of a message, or the beginning of them."""
        return base64.b64decode(orjson.loads(self.stored)["raw"])

    def document(self) -> dict[str, Any]:
        """What ``show`` and ``--json`` say; times in ISO 8601, UTC."""
        about = {name: moment(value) if name == "created" else value for name, value in sorted(self.about.items())}
        values = {"id": self.id, "kind": self.kind, "at": self.at, "reason": self.reason, **about}
        return {
            name: value.isoformat(timespec="milliseconds") if isinstance(value, datetime) else value
            for name, value in values.items()
        }


class CannotRequeue(Exception):
    """The letter stays; the text says why it cannot be sent again."""


class DeadLetters:
    """The list on one Redis.

    Args:
        requests: on that Redis; the one of pending entries has requests and messages that nobody could take, the
            broker's has messages.
        queue: takes the message of a request that is started anew.
        has_queue: whether the queue is on that Redis too.
    """

    def __init__(self, requests: Requests, queue: Queue, *, has_queue: bool) -> None:
        self._requests = requests
        self._has_queue = has_queue
        self._queue = queue
        self._key = requests.keys.dead_letters
        self._revive = requests.client.register_script(_REVIVE)
        self._push = requests.client.register_script(_PUSH)

    async def count(self) -> int:
        """How many there are."""
        return await self._requests.client.llen(self._key)

    async def __aiter__(self) -> AsyncIterator[DeadLetter]:
        """All of them, newest first."""
        seen: set[str] = set()
        skip = 0
        while page := await self._page(skip):
            skip += len(page)
            for letter in map(DeadLetter.load, page):
                # What was added meanwhile has moved the others on: some are read twice.
                if letter.id not in seen:
                    seen.add(letter.id)
                    yield letter

    async def find(self, ids: Collection[str]) -> dict[str, DeadLetter]:
        """Those of the letters `ids` that there are."""
        return {letter.id: letter async for letter in self if letter.id in ids}

    async def content(self, letter: DeadLetter) -> bytes | None:
        """The message, or the beginning of it; or the JSON of what a request asked for, None when it is not kept."""
        if letter.kind == "message":
            return letter.raw
        return cast("bytes | None", await self._requests.client.get(self._requests.keys.kept(letter.id)))

    async def drop(self, letter: DeadLetter) -> bool:
        """Forget a letter, and what its request asked for; False when it was gone already. An answer stays."""
        async with self._requests.client.pipeline(transaction=True) as pipe:
            pipe.lrem(self._key, 1, letter.stored)  # type: ignore[arg-type] # bytes are text to Redis
            if letter.kind == "request":
                pipe.delete(self._requests.keys.kept(letter.id))
            removed = (await pipe.execute())[0]
        return bool(removed)

    async def push(self, letter: DeadLetter) -> bool:
        """Put a message behind what waits in the list it came from; False when its letter was gone already.

        Raises:
            CannotRequeue: only its beginning was kept, or the broker is away.
        """
        if letter.about["truncated"]:
            raise CannotRequeue(f"only the beginning of its {letter.about['size']} bytes was kept")
        if not self._has_queue:
            # Published first: a death in between doubles a message instead of losing it.
            await asyncio.to_thread(self._publish, letter)
            return await self.drop(letter)
        return bool(await self._push(keys=[self._key, letter.about["queue"]], args=[letter.stored, letter.raw]))

    def _publish(self, letter: DeadLetter) -> None:
        message = orjson.loads(letter.raw)
        try:
            with self._queue.celery.connection_for_write() as connection:
                connection.Producer().publish(
                    base64.b64decode(message["body"]),
                    routing_key=letter.about["queue"],
                    content_type=message["content-type"],
                    content_encoding=message["content-encoding"],
                    headers=message["headers"],
                    delivery_mode=2,
                    retry=True,
                    retry_policy={"max_retries": 1},
                )
        except (KombuError, OSError) as error:
            raise CannotRequeue(f"the broker does not take it: {type(error).__name__}") from None

    async def revive(self, letter: DeadLetter, engine: Engine) -> bool:
        """Start a request anew, as if it had just been accepted; False when its letter was gone already.

        It keeps its request_id, its caller and the time it was accepted. Attempts and deadline begin anew.

        Raises:
            CannotRequeue: what it asked for is not kept any more, or this version does not take it.
            DatabaseError: PostgreSQL did not take it; nothing has changed, or the letter comes back by itself.
        """
        entry = await self._entry(letter)
        if entry is None:
            return False

        async def reopen(message: bytes) -> bool:
            revive = partial(self._revive_entry, letter, entry, message)
            return await ledger.reopen(engine, letter.id, Code.DEAD_LETTER, revive)

        return await self._queue.put(reopen, letter.id, entry.summary)

    async def _entry(self, letter: DeadLetter) -> PendingEntry | None:
        """The pending entry to write; None when somebody else has sent or dropped the letter meanwhile."""
        try:
            payload = await self._requests.load_kept(letter.id)
        except ValueError:
            raise CannotRequeue("what it asked for is nothing that this version takes") from None
        if payload is None:
            if await self._requests.client.lpos(self._key, letter.stored) is None:  # type: ignore[arg-type] # as below
                return None
            raise CannotRequeue("what it asked for is not kept any more")
        part = JobPart.load(letter.about.get("job"))
        return PendingEntry.of(letter.id, payload.batch, payload.caller, payload.warnings, payload.kind, job=part)

    async def _revive_entry(self, letter: DeadLetter, entry: PendingEntry, message: bytes) -> bool:
        keys, settings = self._requests.keys, self._requests.settings
        revived = await self._revive(
            keys=[
                keys.request(letter.id),
                keys.pending,
                QUEUE_NAME,
                keys.result(letter.id),
                keys.kept(letter.id),
                self._key,
            ],
            args=[
                letter.id,
                letter.stored,
                message,
                int(settings.request_deadline_s * 1000),
                letter.about["created"],
                *("digest", entry.digest, *entry.fields()),
            ],
        )
        return bool(revived)

    async def _page(self, skip: int) -> list[bytes]:
        return cast("list[bytes]", await self._requests.client.lrange(self._key, skip, skip + _PAGE - 1))
