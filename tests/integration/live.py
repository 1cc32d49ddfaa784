"""One real worker over servers that may be restarted, and senders that have nothing of ours."""

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx2
import redis
from celery import Celery

from chaos.nursery import Child, Nursery
from contract.message import QUEUE_NAME, TASK_NAME
from devstack.process import Guard, Process
from tests.chaos.nursery import wait_until

T = TypeVar("T")
APP = "stock_sender"


class LiveWorker:
    """A `bksi worker` and what one needs to send to it. Use as a context manager.

    Args:
        settings: the worker's, by the variables' names; with ``BKSI_REDIS_URL`` and ``BKSI_POSTGRES_DSN``.
        directory: for its log.
        starter: a nursery; a guard where it is started by another `command`.
        command: that one.
    """

    def __init__(
        self,
        settings: Mapping[str, str],
        directory: Path,
        starter: Nursery | Guard,
        command: Sequence[str | Path] = (),
    ) -> None:
        self.redis = redis.Redis.from_url(settings["BKSI_REDIS_URL"])
        self.celery = Celery(broker=settings.get("BKSI_BROKER_URL", settings["BKSI_REDIS_URL"]), set_as_current=False)
        # A sender declares the queue as it knows it, and RabbitMQ refuses one that differs. Redis has no types.
        self.celery.conf.task_create_missing_queue_type = "quorum"
        log, environment = directory / "worker.log", {"BKSI_LOG_FORMAT": "console", **settings}
        self.process: Child | Process
        if isinstance(starter, Nursery):
            self.process = starter.spawn("worker", environment=environment, log=log)
        else:
            env = os.environ | environment
            self.process = Process("worker", command, log=log, guard=starter, env=env, grace_s=35)
        self.pid = self.process.pid

    def __enter__(self) -> Self:
        self.wait_for(lambda: "ready." in self.process.log.read_text(), "its start")
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
            assert self.process.returncode is None, f"it ended with {self.process.returncode}\n{self.process.tail()}"
            assert time.monotonic() < give_up_at, f"not within {seconds} s: {what}\n{self.process.tail()}"
            time.sleep(0.02)
        return answer


@contextmanager
def running(
    nursery: Nursery, *command: str, environment: Mapping[str, str], log: Path, ready: Callable[[], bool] = lambda: True
) -> Iterator[Child]:
    """Run a `bksi` command for the length of the block, which begins once it is `ready`."""
    child = nursery.spawn(*command, environment=environment, log=log)
    try:
        wait_until(lambda: child.ended.is_set() or ready(), what=f"`{' '.join(command)}` ready, see {log}")
        assert child.returncode is None, child.tail()
        yield child
    finally:
        child.stop()


def answers(url: str) -> bool:
    """Whether somebody says that all is well there."""
    try:
        return httpx2.get(url, timeout=5).is_success
    except httpx2.TransportError:
        return False


def batch(host: int) -> dict[str, Any]:
    """What one request asks for."""
    return {"bk_biz_id": 1, "bk_module_id": 60, "instances": [{"bk_host_id": host}]}
