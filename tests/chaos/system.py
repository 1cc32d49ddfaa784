"""A system that may be broken: workers and shims of a test's own over servers that may be killed, and its callers."""

import asyncio
import base64
import json
import os
import signal
import time
from collections.abc import Coroutine, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest
import redis

from api_shim.refusals import BrokerUnavailable, Busy, NotFound, RecallUnanswered
from api_shim.submitter import Submitter
from chaos.history import Judgement, Told, judge
from chaos.model import UNBOUND_MODULE, Batch, Instance
from chaos.stored import read_stored
from contract.answer.document import report_document
from contract.answer.report import Report
from contract.message import QUEUE_NAME, TASK_NAME, Caller, make_celery
from contract.request.parse import parse
from contract.settings import Settings
from devstack.ports import free_port
from devstack.sql import fetch
from tests.chaos.nursery import Child, Nursery, wait_until

T = TypeVar("T")
APP = "chaos"
CALLER = Caller(bk_app_code=APP, bk_username="admin")
FAST = {
    "BKSI_OWNER_TTL_MS": "1000",
    "BKSI_REAPER_INTERVAL_S": "0.2",
    "BKSI_WATCHDOG_S": "0",
    "BKSI_LOG_FORMAT": "console",
}
"""Waits that are short enough for a test. `watchdog_s`: only its own test has one."""


class System:
    """One test's view of the system. `submit` and `finish` are a caller's; everything accepted is judged by `judge`."""

    def __init__(self, nursery: Nursery, directory: Path, redis_url: str, dsn: str, transport: str) -> None:
        self.redis_url = redis_url
        self.dsn = dsn
        self.worker_dsn = dsn
        self.points = directory / "failpoints"
        self.points.mkdir()
        self.told: dict[str, Told] = {}
        self._nursery = nursery
        self._directory = directory
        self._transport = transport
        self._children: list[Child] = []
        self._runner = asyncio.Runner()
        self._opened: Any = None

    # Processes.

    def worker(self, failpoints: str = "", **environment: str) -> Child:
        """Start a worker process."""
        return self._spawn("worker", failpoints, environment)

    def shim(self, failpoints: str = "", **environment: str) -> tuple[Child, str]:
        """Start a shim; the process and its URL. It answers once ``/healthz`` does."""
        port = free_port()
        child = self._spawn("serve", failpoints, {"BKSI_HTTP_PORT": str(port), **environment})
        return child, f"http://127.0.0.1:{port}"

    def passed(self, point: str, number: int = 1, seconds: float = 30) -> None:
        """Wait until a failpoint was passed for the `number`-th time."""
        wait_until((self.points / f"{point}.{number}").exists, seconds, f"failpoint {point}.{number}")

    def has_passed(self, point: str, number: int = 1) -> bool:
        return (self.points / f"{point}.{number}").exists()

    def release(self, point: str) -> None:
        """Let go whoever is held at a failpoint."""
        (self.points / f"{point}.go").touch()

    def listening(self, *workers: Child) -> None:
        """Wait until workers consume."""
        for worker in workers:
            wait_until(lambda worker=worker: "ready." in worker.log.read_text(), 30, f"worker ready\n{worker.tail()}")

    # Callers.

    @property
    def submitter(self) -> Submitter:
        if self._opened is None:
            self._opened = Submitter.open(Settings(redis_url=self.redis_url))
            self._submitter: Submitter = self.run(self._opened.__aenter__())
        return self._submitter

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in this test's loop."""
        return self._runner.run(coroutine)

    def submit(self, *batches: Batch) -> list[str]:
        """Submit each and remember it as accepted."""

        async def submit_all() -> list[str]:
            return [(await self.submitter.submit(parse(batch.body()).batch, CALLER)).request_id for batch in batches]

        self.submitter  # noqa: B018 - opens it outside of the coroutine
        ids = self.run(submit_all())
        for request_id, batch in zip(ids, batches, strict=True):
            self.told[request_id] = Told(batch, time.monotonic())
        return ids

    def poll(self, request_id: str, bk_app_code: str = APP) -> Report | None:
        """How a request stands; None when nobody knows it."""
        with suppress(NotFound):
            return self.run(self.submitter.poll(request_id, bk_app_code))
        return None

    def send_direct(self, request_id: str, batch: Batch) -> None:
        """Put it on the queue as a service without our code does, and remember it as accepted."""
        with self.redis() as client:
            client.lpush(QUEUE_NAME, direct_message(request_id, batch))
        self.told[request_id] = Told(batch, time.monotonic())

    def submit_when_possible(self, *batches: Batch, seconds: float = 30) -> list[str]:
        """Like `submit`, but tries each again for as long as it is refused."""

        def try_one(batch: Batch) -> list[str]:
            try:
                return self.submit(batch)
            except (BrokerUnavailable, Busy):
                return []

        return [wait_until(lambda batch=batch: try_one(batch), seconds, "accepted")[0] for batch in batches]

    def finish(self, *request_ids: str, seconds: float = 30) -> list[Report]:
        """Wait until each has ended (all that were submitted, when none is named), and remember what was told."""
        ids = list(request_ids or self.told)

        async def wait_for(request_id: str, give_up_at: float) -> Report:
            while True:
                left = give_up_at - time.monotonic()
                assert left > 0, f"{request_id} has not ended after {seconds} s\n{self.logs()}"
                try:
                    report = await self.submitter.wait(request_id, APP, min(left, 1.0))
                except (BrokerUnavailable, RecallUnanswered):
                    await asyncio.sleep(0.05)
                    continue
                if report.status.is_final:
                    return report

        async def wait_for_all() -> list[Report]:
            give_up_at = time.monotonic() + seconds
            return await asyncio.gather(*(wait_for(id_, give_up_at) for id_ in ids))

        self.submitter  # noqa: B018 - as above
        reports = self.run(wait_for_all())
        for id_, report in zip(ids, reports, strict=True):
            self.told[id_].reports.append(report_document(report))
        return reports

    def judge(self) -> Judgement:
        """What the judge says of everything that was accepted here; nothing may be wrong."""
        judgement = judge(self.told, self.run(read_stored(self.dsn)))
        assert not judgement.wrong, "\n".join((*judgement.wrong, self.logs()))
        return judgement

    def all_succeed(self, seconds: float = 30) -> list[Report]:
        """Promises 1 to 5 for everything that was accepted, none of which may fail."""
        reports = self.finish(seconds=seconds)
        assert [report.code for report in reports] == [0] * len(reports), self.logs()
        self.judge()
        assert self.redis_keys("bksi:req:*") == []
        with self.redis() as client:
            assert client.zcard("bksi:pending") == 0
        return reports

    # Servers.

    def redis(self) -> "redis.Redis":
        return redis.Redis.from_url(self.redis_url)

    def redis_keys(self, pattern: str) -> list[bytes]:
        with self.redis() as client:
            return list(client.scan_iter(pattern))

    def sql(self, statement: str, *arguments: object) -> list[Mapping[str, Any]]:
        """What a query answers."""
        return list(map(dict, self.run(fetch(self.dsn, statement, *arguments))))

    def logs(self) -> str:
        return "\n".join(f"-- {child.log.name}\n{child.tail()}" for child in self._children)

    def close(self) -> None:
        """End everything; more than once is harmless."""
        for child in self._children:
            child.signal(signal.SIGCONT)
            child.kill()
        self.close_callers()
        self._runner.close()

    def close_callers(self) -> None:
        if self._opened is not None:
            self.run(self._opened.__aexit__(None, None, None))
            self._opened = None

    def _spawn(self, command: str, failpoints: str, environment: Mapping[str, str]) -> Child:
        log = self._directory / f"{command}-{len(self._children) + 1}.log"
        settings = FAST | {
            "BKSI_REDIS_URL": self.redis_url,
            "BKSI_POSTGRES_DSN": self.worker_dsn,
            "BKSI_TRANSPORT": self._transport,
            "BKSI_FAILPOINTS": failpoints,
            "BKSI_FAILPOINTS_DIR": str(self.points),
        }
        child = self._nursery.spawn(command, environment=settings | dict(environment), log=log)
        self._children.append(child)
        return child


on_both_transports = pytest.mark.parametrize("transport", ["guarded", "stock"], indirect=True)
"""For a test that must hold on kombu's own transport as well."""


def bound(*hosts: int, module: int = 60) -> Batch:
    """A request for a module with a service template."""
    return Batch(tuple(Instance(module, host) for host in hosts))


def unbound(*hosts: int, name: str = "unit", processes: Iterable[str] = ("alpha",)) -> Batch:
    """A request for the module without one."""
    return Batch(tuple(Instance(UNBOUND_MODULE, host, name, tuple(processes)) for host in hosts))


def direct_message(request_id: str, batch: Batch, app: str = APP, **also: str) -> bytes:
    """What a service without our code sends with plain Celery; `also`: further keys of the batch."""
    kwargs = {"request_id": request_id, "batch": batch.body() | also, "caller": {"bk_app_code": app}}
    task = make_celery(Settings()).amqp.as_task_v2(request_id, TASK_NAME, (), kwargs, ignore_result=True)
    return json.dumps(
        {
            "body": base64.b64encode(json.dumps(task.body).encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": task.headers,
            "properties": {
                "correlation_id": request_id,
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": "service_instance"},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": os.urandom(8).hex(),
            },
        }
    ).encode()
