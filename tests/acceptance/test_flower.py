"""What an operator sees in Flower."""

import json
import os
import re
from pathlib import Path
from typing import Any

import httpx2
from celery import Celery

from devstack.ports import free_port
from devstack.process import Guard, Process
from devstack.running import BKSI, RunningStack
from tests.acceptance.calls import bound, run


def task_in_flower(flower: str, request_id: str, state: str) -> dict[str, Any]:
    """Flower's view of the task, once the worker's event has reached it."""
    while True:
        response = httpx2.get(f"{flower}/api/task/info/{request_id}", timeout=60)
        if response.status_code == 200 and response.json()["state"] == state:
            task: dict[str, Any] = response.json()
            return task


def test_finished_batch_is_found_by_its_request_id(stack: Any) -> None:
    request_id = run(stack.http, bound(20))["request_id"]

    task = task_in_flower(stack.flower, request_id, "SUCCESS")

    assert task["name"] == "service_instance.create_batch.v1"
    assert task["args"] == "biz=1 module=60 instances=1"
    assert task["started"] is not None


def test_failed_batch_shows_its_code_and_no_values(stack: Any) -> None:
    request_id = run(stack.http, bound(20, module=999))["request_id"]

    task = task_in_flower(stack.flower, request_id, "FAILURE")

    assert task["exception"].startswith("1101034: ")
    # What a caller did wrong happened nowhere in our code.
    assert task["traceback"] is None


def test_broker_page_shows_the_queue_and_the_list_shows_arguments(stack: RunningStack) -> None:
    broker = httpx2.get(f"{stack.flower}/broker", timeout=60).text
    assert "service_instance" in broker
    assert "<td>celery</td>" not in broker
    tasks = httpx2.get(f"{stack.flower}/tasks", timeout=60).text
    assert {"args", "result"} <= set(re.findall(r'data-column="(\w+)"', tasks))


def test_it_shows_and_changes_nothing(stack: RunningStack) -> None:
    answer = httpx2.post(f"{stack.flower}/api/worker/shutdown/worker-1", timeout=60)
    assert answer.status_code in (403, 405)


def test_what_it_has_seen_outlasts_a_restart_but_for_a_worker_that_is_gone(
    stack: RunningStack, guard: Guard, tmp_path: Path
) -> None:
    environment = {"BKSI_REDIS_URL": stack.redis, "BKSI_STATE_DIR": str(tmp_path), "FLOWER_UNAUTHENTICATED_API": "1"}
    environment["FLOWER_PURGE_OFFLINE_WORKERS"] = "1"  # a minute, unless it is set
    address = f"http://127.0.0.1:{(port := free_port())}"

    def start() -> Process:
        command = [BKSI, "flower", "--port", str(port)]
        return Process("flower", command, log=tmp_path / "log", guard=guard, env=os.environ | environment)

    with start() as flower:
        flower.wait_until(lambda: "worker-1" in _get(f"{address}/workers?json=1"), timeout_s=60)
        request_id = run(stack.http, bound(21))["request_id"]
        flower.wait_until(lambda: "SUCCESS" in _get(f"{address}/api/task/info/{request_id}"), timeout_s=30)
        with Celery(broker=stack.redis, set_as_current=False) as app, app.connection_for_write() as connection:
            events = app.events.Dispatcher(connection, hostname="gone@nowhere")
            events.send("worker-heartbeat", freq=1)
            flower.wait_until(lambda: "gone@nowhere" in _get(f"{address}/workers?json=1"), timeout_s=30)
        flower.wait_until(lambda: _names(_get(f"{address}/workers?json=1")) == {"worker-1"}, timeout_s=30)
    with start() as flower:
        flower.wait_until(lambda: "SUCCESS" in _get(f"{address}/api/task/info/{request_id}"), timeout_s=60)
    # One line for each thing that was said.
    assert all(line.startswith("{") for line in (tmp_path / "log").read_text().splitlines())


def _names(workers: str) -> set[str]:
    return {worker["hostname"].partition("@")[0] for worker in json.loads(workers)["data"]} if workers else set()


def _get(url: str) -> str:
    try:
        return httpx2.get(url, timeout=5).text
    except httpx2.HTTPError:
        return ""
