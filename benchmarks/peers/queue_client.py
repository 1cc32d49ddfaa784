"""The caller of a task queue: reads and checks the body, enqueues it, and is woken by the answer."""

import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from benchmarks.peers.answers import Answers
from contract.request.parse import parse

Enqueue = Callable[[str, dict[str, Any]], Awaitable[object]]


class QueueClient:
    """`enqueue` takes a request_id and the batch as plain JSON."""

    def __init__(self, enqueue: Enqueue, answers: Answers) -> None:
        self._enqueue = enqueue
        self._answers = answers

    async def submit(self, body: bytes) -> str:
        """Enqueue a request."""
        batch = orjson.loads(body)
        parse(batch)  # refuses what is wrong, as every submitter should
        request_id = uuid.uuid4().hex
        self._answers.expect(request_id)
        await self._enqueue(request_id, batch)
        return request_id

    async def wait(self, request_id: str) -> None:
        """Until its answer is stored."""
        await self._answers.wait(request_id)
