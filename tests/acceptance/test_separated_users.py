"""The Redis of docker-compose.yml with its users, and a worker there that runs signed messages only."""

import asyncio
import json
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
import redis as redis_client
from celery import Celery
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError
from redis.retry import Retry

from api_shim.submitter import Submitter
from contract.message import Caller
from contract.request.parse import parse
from contract.settings import Settings
from devstack.ports import free_port
from devstack.process import Guard, Process
from devstack.running import BKSI
from tests.acceptance.calls import bound, rows
from tests.compose_redis import ComposeRedis

ROOT = Path(__file__).parents[2]
RECIPE = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "direct-messages.md").read_text(), re.DOTALL)[1]
KEY = "the key of my_app, as the file has it"


@dataclass(frozen=True)
class Place:
    server: ComposeRedis
    postgres: str
    worker: Process

    def url(self, user: str) -> str:
        return self.server.url_of(user)

    @property
    def worker_name(self) -> str:
        return f"worker-{self.worker.pid}@"

    def redis(self, user: str) -> "redis_client.Redis":
        return redis_client.Redis.from_url(self.url(user), socket_timeout=20)

    def report(self, request_id: str) -> dict[str, Any]:
        """What the sender reads of its own request."""
        with self.redis("sender") as redis:
            deadline = time.monotonic() + 30
            while (stored := redis.get(f"bksi:result:{request_id}")) is None:
                assert time.monotonic() < deadline, self.worker.tail()
                time.sleep(0.05)
        report: dict[str, Any] = json.loads(stored)
        return report


@pytest.fixture(scope="module")
def place(
    guard: Guard,
    tmp_path_factory: pytest.TempPathFactory,
    clone_database: Callable[[str], str],
    catalogue_template: str,
) -> Iterator[Place]:
    directory, dsn = tmp_path_factory.mktemp("users"), clone_database(catalogue_template)
    (directory / "senders.toml").write_text(f'[senders.my_app]\nkeys = ["{KEY}"]\nbk_biz_ids = [1]\n')
    with ComposeRedis(directory / "redis", guard) as server:
        settings = {
            "BKSI_REDIS_URL": server.url,
            "BKSI_POSTGRES_DSN": dsn,
            "BKSI_SENDERS_FILE": str(directory / "senders.toml"),
        }
        log = directory / "worker.log"
        with Process("worker", [BKSI, "worker"], log=log, guard=guard, env=os.environ | settings) as worker:
            worker.wait_until(lambda: "ready." in worker.tail(50), timeout_s=60)
            yield Place(server, dsn, worker)


def _send(place: Place, request_id: str, **kwargs: Any) -> None:
    app = Celery(broker=place.url("sender"), set_as_current=False)
    app.send_task(
        "service_instance.create_batch.v1",
        kwargs={"request_id": request_id, **kwargs},
        task_id=request_id,
        queue="service_instance",
        ignore_result=True,
    )
    app.close()


def test_documented_signed_message_of_stock_celery_is_run(place: Place) -> None:
    names: dict[str, Any] = {}
    exec(RECIPE.replace("redis://127.0.0.1:6379/0", place.url("sender")), names)

    report = place.report(names["request_id"])

    assert (report["result"], report["bk_app_code"], len(report["data"])) == (True, "my_app", 1)


@pytest.mark.bad_input(
    99, "an unsigned direct message, where senders are configured", "failed task, a log line; nothing is stored"
)
def test_unsigned_message_is_refused_and_leaves_nothing(place: Place) -> None:
    request_id = uuid.uuid4().hex
    _send(place, request_id, batch=bound(45), caller={"bk_app_code": "my_app"})

    def refused() -> bool:
        return any(request_id in line and "not signed" in line for line in place.worker.log.read_text().splitlines())

    place.worker.wait_until(refused, timeout_s=30)
    with place.redis("bksi") as redis:
        assert redis.exists(f"bksi:req:{request_id}", f"bksi:result:{request_id}") == 0
        assert redis.zscore("bksi:pending", request_id) is None
    assert rows(place.postgres, "SELECT 1 FROM request_ledger WHERE request_id = $1", request_id) == []
    assert rows(place.postgres, "SELECT 1 FROM service_instance WHERE bk_host_id = 45") == []


def test_signed_message_for_a_business_of_somebody_else_is_refused_with_the_permission_it_lacks(place: Place) -> None:
    request_id = uuid.uuid4().hex
    claims = {"request_id": request_id, "batch": bound(2) | {"bk_biz_id": 2}}
    _send(place, request_id, signed=jwt.encode(claims, KEY, "HS256", headers={"kid": "my_app"}))

    report = place.report(request_id)

    assert (report["status"], report["code"]) == ("FAILED", 9900403)
    assert report["permission"]["actions"][0]["id"] == "create_biz_service_instance"


def test_server_and_worker_share_a_user_that_needs_no_more(place: Place) -> None:
    async def submit_and_wait() -> Any:
        async with Submitter.open(Settings(redis_url=place.url("bksi"))) as submitter:
            batch = parse(bound(46)).batch
            submitted = await submitter.submit(batch, Caller(bk_app_code="app"))
            assert await submitter.health.ready() == dict.fromkeys(("redis", "broker", "worker", "database"), True)
            return await submitter.wait(submitted.request_id, "app", 30)

    assert asyncio.run(submit_and_wait()).status == "SUCCESS"
    with place.redis("bksi") as redis:
        for forbidden in (redis.flushall, redis.keys, redis.config_get, redis.acl_list, redis.shutdown):
            with pytest.raises(NoPermissionError):
                forbidden()
        with pytest.raises(NoPermissionError):
            redis.get("somebody:elses")


@pytest.mark.bad_input(102, "Celery's remote control: shutdown, revoke, rate_limit", "no worker listens to it")
def test_remote_control_stops_nobody(place: Place) -> None:
    app = Celery(broker=place.url("bksi"), set_as_current=False)
    request_id = uuid.uuid4().hex
    for command in ("shutdown", "pool_shrink"):
        app.control.broadcast(command)
    app.control.rate_limit("service_instance.create_batch.v1", "1/h")
    app.control.revoke(request_id, terminate=True)
    app.close()

    claims = {"request_id": request_id, "batch": bound(47)}
    _send(place, request_id, signed=jwt.encode(claims, KEY, "HS256", headers={"kid": "my_app"}))

    assert place.report(request_id)["status"] == "SUCCESS"
    assert place.worker.returncode is None


def test_flower_sees_workers_and_tasks_and_how_long_the_queue_is(place: Place, guard: Guard, tmp_path: Path) -> None:
    """The real one: it begins by telling all workers to send events, which none listens to."""
    port, request_id = free_port(), uuid.uuid4().hex
    address = f"http://127.0.0.1:{port}"
    command = [BKSI, "flower", "--port", str(port)]
    environment = {"BKSI_REDIS_URL": place.url("flower"), "FLOWER_UNAUTHENTICATED_API": "1"}
    environment["BKSI_STATE_DIR"] = str(tmp_path)
    with Process("flower", command, log=tmp_path / "flower.log", guard=guard, env=os.environ | environment) as flower:
        # Only from then on does it see their tasks.
        flower.wait_until(lambda: place.worker_name in _asked(f"{address}/workers?json=1"), timeout_s=60)
        claims = {"request_id": request_id, "batch": bound(48)}
        _send(place, request_id, signed=jwt.encode(claims, KEY, "HS256", headers={"kid": "my_app"}))
        flower.wait_until(lambda: "SUCCESS" in _asked(f"{address}/api/task/info/{request_id}"), timeout_s=30)
        with place.redis("flower") as redis:
            assert redis.llen("service_instance") == 0
        assert '"messages": 0' in _asked(f"{address}/api/queues/length")
        assert "Failed to capture events" not in flower.log.read_text()


def _asked(url: str) -> str:
    with suppress(httpx2.TransportError):
        return httpx2.get(url, timeout=20).text
    return ""


def test_stranger_is_not_let_in(place: Place) -> None:
    port, once = place.server.port or 0, Retry(NoBackoff(), 0)
    for stranger in ({}, {"username": "default", "password": ""}, {"username": "default", "password": "guessed"}):
        with (
            redis_client.Redis(port=port, retry=once, **stranger) as redis,
            pytest.raises((AuthenticationError, ResponseError)),
        ):
            redis.ping()
