"""One real worker over servers that may be restarted, and senders that have nothing of ours."""

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import redis
from celery import Celery

from contract.message import QUEUE_NAME, TASK_NAME
from devstack.process import Guard, Process
from devstack.running import BKSI

T = TypeVar("T")
APP = "stock_sender"


class LiveWorker:
    """A `bksi worker` and what one needs to send to it. Use as a context manager.

    Args:
        settings: the worker's, by the variables' names; with ``BKSI_REDIS_URL`` and ``BKSI_POSTGRES_DSN``.
        directory: for its log.
        guard: who ends it should this process die.
        command: another way to start it.
    """

    def __init__(
        self,
        settings: Mapping[str, str],
        directory: Path,
        guard: Guard,
        command: Sequence[str | Path] = (BKSI, "worker"),
    ) -> None:
        self.redis = redis.Redis.from_url(settings["BKSI_REDIS_URL"])
        self.celery = Celery(broker=settings.get("BKSI_BROKER_URL", settings["BKSI_REDIS_URL"]), set_as_current=False)
        # A sender declares the queue as it knows it, and RabbitMQ refuses one that differs. Redis has no types.
        self.celery.conf.task_create_missing_queue_type = "quorum"
        self.process = Process(
            "worker",
            command,
            log=directory / "worker.log",
            guard=guard,
            env=os.environ | {"BKSI_LOG_FORMAT": "console"} | dict(settings),
            grace_s=35,
        )
        self.pid = self.process.pid

    def __enter__(self) -> Self:
        self.process.wait_until(lambda: "ready." in self.process.log.read_text(), timeout_s=60)
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.stop()
        self.celery.close()
        self.redis.close()

    def send(self, host: int, *, request_id: str | None = None, **changes: Any) -> str:
        """Enqueue a batch of one host as plain Celery does; `changes` are of the call. Returns its request_id."""
        task: str = changes.pop("task", TASK_NAME)
        request_id = request_id or uuid.uuid4().hex
        kwargs = {"request_id": request_id, "batch": batch(host), "caller": {"bk_app_code": APP}}
        call = {"kwargs": kwargs, "task_id": request_id, "queue": QUEUE_NAME, **changes}
        self.celery.send_task(task, **call)
        return request_id

    def report(self, request_id: str) -> Mapping[str, Any]:
        """Wait until the request has ended; its stored report."""
        stored: Any = self.wait_for(lambda: self.redis.get(f"bksi:result:{request_id}"), f"the end of {request_id}")
        document: dict[str, Any] = json.loads(stored)
        return document

    def letters(self) -> list[dict[str, Any]]:
        """The dead letters, newest first."""
        return [json.loads(stored) for stored in self.redis.lrange("bksi:dead", 0, -1)]

    def held(self, message: bytes) -> set[tuple[bytes, bytes]]:
        """Where the worker has recorded a message: the hash and its field."""
        hashes: Iterator[Any] = self.redis.scan_iter("bksi:unacked:*")
        held: dict[Any, dict[Any, Any]] = {key: self.redis.hgetall(key) for key in hashes}
        return {(key, field) for key, fields in held.items() for field, raw in fields.items() if raw == message}

    def wait_for(self, condition: Callable[[], T], what: str, seconds: float = 60) -> T:
        """Ask until the answer is true; the worker must live all the while."""
        give_up_at = time.monotonic() + seconds
        while not (answer := condition()):
            assert self.process.returncode is None, self.process.obituary()
            assert time.monotonic() < give_up_at, f"not within {seconds} s: {what}\n{self.process.tail()}"
            time.sleep(0.02)
        return answer


def batch(host: int) -> dict[str, Any]:
    """What one request asks for."""
    return {"bk_biz_id": 1, "bk_module_id": 60, "instances": [{"bk_host_id": host}]}
