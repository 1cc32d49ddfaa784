"""The system over RabbitMQ, for whoever has it: ``--rabbitmq-server /usr/lib/rabbitmq/bin/rabbitmq-server``."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chaos.nursery import Nursery
from devstack.process import Guard
from devstack.rabbitmq import RabbitMQ
from devstack.servers import Valkey
from tests.integration.live import LiveWorker

# At DEBUG Celery logs a line for each delivery, which is how a test counts them.
FAST = {"BKSI_OWNER_TTL_MS": "1000", "BKSI_REAPER_INTERVAL_S": "0.2", "BKSI_LOG_LEVEL": "DEBUG"}


@pytest.fixture(scope="module")
def rabbitmq(
    request: pytest.FixtureRequest, guard: Guard, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RabbitMQ]:
    """A node of this module's own: restart it as you like."""
    script: Path | None = request.config.getoption("--rabbitmq-server")
    if script is None:
        pytest.skip("needs RabbitMQ: name its script with --rabbitmq-server, or run `make test-matrix`")
    with RabbitMQ(tmp_path_factory.mktemp("rabbitmq"), guard, script=script) as server:
        yield server


@pytest.fixture(scope="module")
def ledger(guard: Guard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """The Redis of the ledger, also for this module alone."""
    with Valkey(tmp_path_factory.mktemp("redis"), guard) as server:
        yield server


@pytest.fixture(scope="module")
def settings(
    rabbitmq: RabbitMQ, ledger: Valkey, clone_database: Callable[[str], str], catalogue_template: str
) -> dict[str, str]:
    """Of every process: the ledger on a Redis, the queue on RabbitMQ."""
    return FAST | {
        "BKSI_REDIS_URL": ledger.url,
        "BKSI_BROKER_URL": rabbitmq.url,
        "BKSI_POSTGRES_DSN": clone_database(catalogue_template),
    }


@pytest.fixture(scope="module")
def worker(
    settings: dict[str, str], nursery: Nursery, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveWorker]:
    """One worker process for all tests, and it must outlive them."""
    with LiveWorker(settings, tmp_path_factory.mktemp("worker"), nursery) as worker:
        yield worker
        assert worker.process.returncode is None
