"""Servers that tests here may kill, and a system of each test's own over them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis as redis_client

from devstack import sample
from devstack.process import Guard
from devstack.server import Server
from devstack.servers import Postgres, Valkey
from tests.chaos.nursery import Nursery
from tests.chaos.system import System
from tests.conftest import RunBksi, execute


@pytest.fixture(scope="session")
def _postgres(guard: Guard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with Postgres(tmp_path_factory.mktemp("breakable-postgres"), guard, durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def _valkey(guard: Guard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with Valkey(tmp_path_factory.mktemp("breakable-redis"), guard) as server:
        yield server


@pytest.fixture
def postgres(_postgres: Postgres) -> Postgres:
    """PostgreSQL, which runs. Do to it what you like."""
    _restart(_postgres)
    return _postgres


@pytest.fixture
def valkey(_valkey: Valkey) -> Valkey:
    """Valkey, which runs and is empty. Do to it what you like."""
    _restart(_valkey)
    with redis_client.Redis.from_url(_valkey.url) as client:
        client.replicaof("NO", "ONE")
        client.config_set("maxmemory", "0")
        client.flushall()
    return _valkey


@pytest.fixture(scope="session")
def template(_postgres: Postgres, bksi: RunBksi) -> str:
    """The name of a database with the schema and the sample catalogue."""
    execute(_postgres.url, "CREATE DATABASE chaos")
    dsn = _postgres.url.rpartition("/")[0] + "/chaos"
    for command in (("migrate",), ("catalogue", "import", *sample.CATALOGUE)):
        done = bksi(*command, env={"BKSI_POSTGRES_DSN": dsn})
        assert done.returncode == 0, done.stderr
    return "chaos"


@pytest.fixture
def dsn(postgres: Postgres, template: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database of this test's own with the sample catalogue."""
    name = f"test_{abs(hash(request.node.nodeid)):x}"
    execute(postgres.url, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    yield postgres.url.rpartition("/")[0] + f"/{name}"
    if postgres.process is not None and postgres.process.returncode is None:
        execute(postgres.url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["guarded"])
def transport(request: pytest.FixtureRequest) -> str:
    """How workers consume; a test that must hold on both says so with `on_both_transports`."""
    value: str = request.param
    return value


@pytest.fixture
def open_system(nursery: Nursery, tmp_path: Path, transport: str) -> Iterator[Callable[[str, str], System]]:
    """``open_system(redis_url, dsn)`` → a `System`, over a proxy for example."""
    opened: list[System] = []

    def opener(redis_url: str, dsn: str) -> System:
        directory = tmp_path / f"system-{len(opened)}"
        directory.mkdir()
        opened.append(System(nursery, directory, redis_url, dsn, transport))
        return opened[-1]

    yield opener
    for system in opened:
        system.close()


@pytest.fixture
def system(open_system: Callable[[str, str], System], valkey: Valkey, dsn: str) -> System:
    """A system over the servers themselves."""
    return open_system(valkey.url, dsn)


def _restart(server: Server) -> None:
    """Start a server that an earlier test has ended."""
    if server.process is None or server.process.returncode is not None:
        server.kill()
        server.start()
