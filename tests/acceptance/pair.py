"""A server and a worker that nobody else sends to: a fraction of a stack's start, and no Flower."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from chaos.nursery import Nursery
from devstack.ports import free_port
from devstack.process import Guard
from devstack.servers import Valkey
from tests.integration.live import answers, running


class Pair(NamedTuple):
    """Where they are."""

    http: str
    redis: str
    postgres: str


@contextmanager
def run_pair(
    nursery: Nursery, guard: Guard, directory: Path, dsn: str, environment: Mapping[str, str]
) -> Iterator[Pair]:
    """Run them on the database of `dsn` and a Redis of their own, for the length of the block."""
    http = f"http://127.0.0.1:{(port := free_port())}"
    with Valkey(directory / "redis", guard) as redis:
        settings = {"BKSI_REDIS_URL": redis.url, "BKSI_POSTGRES_DSN": dsn, "BKSI_HTTP_PORT": str(port), **environment}
        worker = running(nursery, "worker", environment=settings, log=directory / "worker.log")
        server = running(
            nursery,
            "serve",
            environment=settings,
            log=directory / "server.log",
            ready=lambda: answers(http + "/readyz"),
        )
        with worker, server:
            yield Pair(http, redis.url, dsn)
