"""What a reaper works on, and a reaper that sweeps when it is told to."""

import json
from typing import Any

import redis

from contract.message import QUEUE_NAME, TASK_NAME, Caller, build_message, make_celery, new_request_id
from contract.queue import Queue
from contract.redis.connection import connect
from contract.redis.records import PendingEntry
from contract.request.batch import ServiceInstanceBatch
from contract.settings import Settings
from plumbing import traces
from worker.custody.leases import Leases
from worker.custody.queue import WorkerQueue
from worker.custody.reaper import Reaper
from worker.postgres.engine import make_engine

BATCH = ServiceInstanceBatch(bk_biz_id=1, bk_module_id=60, processes=[], instances=[(2, None, None)])
LEASE_MS = 500


class Bench:
    """Close it at the end."""

    def __init__(self, client: "redis.Redis", **settings: Any) -> None:
        self.redis = client
        self.accepted: list[str] = []
        self.settings = Settings(**{"owner_ttl_ms": LEASE_MS, **settings})
        self.celery = make_celery(self.settings)
        self.leases = Leases(connect(self.settings), self.settings)
        self.engine = make_engine(self.settings)
        self.queue = Queue(self.celery, self.settings)
        self.reaper = self.another_reaper()

    def another_reaper(self) -> Reaper:
        return Reaper(self.leases, self.engine, WorkerQueue(self.leases, self.queue), self.settings)

    async def accept(self, count: int = 1, *, traceparent: str | None = None, **settings: Any) -> list[str]:
        """Accept requests, oldest first; their messages are in the queue when that is on the ledger's Redis."""
        leases = Leases(self.leases.client, self.settings.model_copy(update=settings))
        ids = [new_request_id() for _ in range(count)]
        for id_ in ids:
            entry = PendingEntry.of(id_, BATCH, Caller(bk_app_code="app"), headers=traces.headers(traceparent))
            message = build_message(self.celery, id_, "s") if self.queue.is_beside else b""
            await leases.submit(entry, message)
        self.accepted += ids
        return ids

    def take(self, count: int) -> None:
        """Pop messages, as somebody does who dies at once."""
        for _ in range(count):
            assert self.redis.rpop(QUEUE_NAME)

    def age(self, *request_ids: str, ms: int = LEASE_MS + 100) -> None:
        """Make it so that everything, or only these, was last pushed that much earlier, a millisecond or more apart.

        The order is that of acceptance. Two pushes within one millisecond would leave it open which of them came first.
        """
        for rank, id_ in enumerate(self.accepted):
            score = self.redis.zscore("bksi:pending", id_)
            if score is not None and (not request_ids or id_ in request_ids):
                self.redis.zadd("bksi:pending", {id_: score - ms - len(self.accepted) + rank})

    def waiting(self) -> list[str]:
        """The requests whose messages are in the queue, the next to be taken first."""
        return [headers["id"] for headers in self.headers()]

    def headers(self) -> list[dict[str, Any]]:
        """What those messages have for headers."""
        waiting: list[Any] = self.redis.lrange(QUEUE_NAME, 0, -1)
        headers = [json.loads(raw)["headers"] for raw in reversed(waiting) if raw.startswith(b"{")]
        return [one for one in headers if one["task"] == TASK_NAME]

    def pending(self) -> set[str]:
        ids: list[Any] = self.redis.zrange("bksi:pending", 0, -1)
        return {id_.decode() for id_ in ids}

    async def close(self) -> None:
        await self.leases.client.aclose()
        await self.engine.dispose()
        self.celery.close()
