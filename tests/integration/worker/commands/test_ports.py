"""A port where no worker answers."""

import asyncio
from collections.abc import Iterator
from http.server import HTTPServer, SimpleHTTPRequestHandler
from threading import Thread

import pytest

from contract.settings import Settings
from devstack.ports import free_port
from worker.commands.doctor.finding import Level
from worker.commands.doctor.ports import examine_metrics


@pytest.fixture
def somebody_else() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_worker_that_prometheus_would_not_find_is_named(somebody_else: int) -> None:
    assert asyncio.run(examine_metrics(Settings())).level is Level.SKIPPED
    away = asyncio.run(examine_metrics(Settings(metrics_port=(port := free_port()), http_host="0.0.0.0")))
    assert (away.level, away.found) == (Level.WARNING, f"http://127.0.0.1:{port}/metrics: ConnectError")
    other = asyncio.run(examine_metrics(Settings(metrics_port=somebody_else)))
    assert (other.level, other.found) == (
        Level.WARNING,
        f"http://127.0.0.1:{somebody_else}/metrics answers, and is no worker",
    )
