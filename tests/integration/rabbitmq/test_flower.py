"""Flower where the queue is on RabbitMQ: requests as ever, and the queue where the management plugin may be asked."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from contract.message import QUEUE_NAME
from devstack.ports import free_port
from devstack.process import Guard, Process
from devstack.rabbitmq import RabbitMQ
from devstack.running import BKSI
from tests.integration.live import LiveWorker

Flower = Callable[..., str]


@pytest.fixture
def flower(settings: dict[str, str], guard: Guard, tmp_path: Path) -> Iterator[Flower]:
    """``flower(FLOWER_…="…")`` → the address of one that has heard of the worker."""
    started: list[Process] = []

    def start(**options: str) -> str:
        own = {"BKSI_STATE_DIR": str(tmp_path), "FLOWER_UNAUTHENTICATED_API": "1"}
        environment = os.environ | settings | own | options
        address = f"http://127.0.0.1:{(port := free_port())}"
        command = [BKSI, "flower", "--port", str(port)]
        started.append(Process("flower", command, log=tmp_path / "log", guard=guard, env=environment))
        started[-1].wait_until(lambda: "worker-" in get(f"{address}/workers?json=1"), timeout_s=60)
        return address

    yield start
    for process in started:
        process.stop()


def get(url: str) -> str:
    try:
        return httpx2.get(url, timeout=20).text
    except httpx2.HTTPError:
        return ""


def queues(broker_page: str) -> list[str]:
    return re.findall(r"<td>\s*(\S+)\s*</td>", broker_page)


def test_requests_are_shown_and_the_brokers_page_is_empty_without_its_api(worker: LiveWorker, flower: Flower) -> None:
    address = flower()
    request_id = worker.send(131)
    worker.wait_for(lambda: '"SUCCESS"' in get(f"{address}/api/task/info/{request_id}"), "the task in Flower")

    page = httpx2.get(f"{address}/broker", timeout=20)
    assert page.status_code == 200
    assert QUEUE_NAME not in queues(page.text)


def test_brokers_page_shows_the_queue_with_the_management_api(
    worker: LiveWorker, flower: Flower, rabbitmq: RabbitMQ
) -> None:
    address = flower(FLOWER_BROKER_API=rabbitmq.management_url)
    worker.wait_for(lambda: QUEUE_NAME in queues(get(f"{address}/broker")), "the queue on the broker's page")
