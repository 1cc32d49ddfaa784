"""Servers for the tests that need them: started once a run, each on its own free port, gone afterwards.

Isolation: every test that asks for `database` gets a database of its own, cloned from a migrated template; `redis` is
emptied before the test. Do not kill these servers: a test that breaks things starts its own with `devstack.servers`.
"""

import asyncio
import itertools
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import asyncpg
import pytest
import redis as redis_client
from hypothesis import settings

from chaos.nursery import Nursery
from contract.settings import load_settings
from devstack import sample
from devstack.process import Guard
from devstack.servers import Postgres, Valkey

# No deadline: a slow machine is no bug. `--hypothesis-profile=ci` looks ten times as long, `quick` a tenth.
settings.register_profile("local", deadline=None)
settings.register_profile("quick", deadline=None, max_examples=10)
settings.register_profile("ci", deadline=None, max_examples=1000)
settings.load_profile("local")

_numbers = itertools.count(1)
NOBODY = Path(__file__).parent / "data" / "nobody.crt"
PARTITIONS = Path(__file__).parents[1] / "deploy" / "postgres" / "partition-by-business.sql"


def pytest_addoption(parser: pytest.Parser) -> None:
    servers = parser.getgroup("servers", "other servers than the wheels'; `make test-matrix` gives Debian's")
    servers.addoption("--postgres-bin", type=Path, help="directory of initdb and postgres")
    servers.addoption("--redis-server", type=Path, help="a redis-server or valkey-server")
    servers.addoption("--pgbouncer", type=Path, help="PgBouncer; tests that need it are skipped without")
    servers.addoption(
        "--rabbitmq-server", type=Path, help="RabbitMQ's own script; tests that need it are skipped without"
    )
    servers.addoption("--partitioned", action="store_true", help="tables as deploy/postgres makes them")
    servers.addoption("--containers", help="variables for Compose, as JSON; `make test-containers` gives them")


def pytest_configure(config: pytest.Config) -> None:
    Postgres.binaries = config.getoption("--postgres-bin")
    Valkey.binary = config.getoption("--redis-server")
    # A script that runs the tests behind `&` has them ignore Ctrl-C, and every process that they start with them.
    signal.signal(signal.SIGINT, signal.default_int_handler)


class RunBksi(Protocol):
    """Run a `bksi` command to its end; `env` is added to this process's own."""

    def __call__(self, *args: str | Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture(scope="session")
def nursery(guard: Guard) -> Iterator[Nursery]:
    """Starts `bksi` processes that share the loading of their libraries, which takes longer than most commands."""
    with Nursery(guard) as nursery:
        yield nursery


@pytest.fixture(scope="session")
def bksi(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> RunBksi:
    """``bksi("migrate", env={"BKSI_POSTGRES_DSN": dsn})`` → its exit code and what it printed, as text."""
    directory = tmp_path_factory.mktemp("bksi")

    def run(*args: str | Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        number = next(_numbers)
        output, errors = directory / f"{number}.output", directory / f"{number}.errors"
        environment = os.environ | dict(env or {})
        command = [str(arg) for arg in args]
        child = nursery.spawn(*command, environment=environment, log=errors, output=output)
        return subprocess.CompletedProcess(command, child.wait(100), output.read_text(), errors.read_text())

    return run


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    """The settings of whoever runs the tests must not reach them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("BKSI_")]:
            patch.delenv(name)
        # Every HTTP client reads all the authorities that this machine trusts, 30 ms; who needs one here names his own.
        # This one has a name that no server here has: OpenSSL looks by name, and takes the first that fits.
        patch.setenv("SSL_CERT_FILE", str(NOBODY))
        load_settings.cache_clear()
        yield


@pytest.fixture(scope="session")
def guard() -> Iterator[Guard]:
    """Ends every server of this run, should the run itself be killed."""
    with Guard() as guard:
        yield guard


@pytest.fixture(scope="session")
def postgres_dsn(guard: Guard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """libpq URL of an embedded PostgreSQL, as superuser, database ``postgres`` (empty)."""
    with Postgres(tmp_path_factory.mktemp("postgres"), guard, durable=False) as server:
        yield server.url


@pytest.fixture(scope="session")
def redis_url(guard: Guard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of an embedded Valkey: append-only, fsync always, noeviction. Use `redis` to find it empty."""
    with Valkey(tmp_path_factory.mktemp("redis"), guard) as server:
        yield server.url


@pytest.fixture
def redis(redis_url: str) -> Iterator[redis_client.Redis]:
    """A synchronous client (bytes in, bytes out) of the embedded Valkey, which is empty when the test begins."""
    with redis_client.Redis.from_url(redis_url) as client:
        client.flushall()
        yield client


@pytest.fixture(scope="session")
def clone_database(postgres_dsn: str) -> Callable[[str], str]:
    """``clone_database("template")`` → the DSN of a new database with the same content."""

    def clone(template: str) -> str:
        name = f"test_{next(_numbers)}"
        execute(postgres_dsn, f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
        return _with_database(postgres_dsn, name)

    return clone


@pytest.fixture(scope="session")
def migrated_template(postgres_dsn: str, pytestconfig: pytest.Config) -> str:
    """The name of a database that is migrated and otherwise empty."""
    from worker.postgres.migrate import upgrade

    execute(postgres_dsn, "CREATE DATABASE migrated")
    dsn = _with_database(postgres_dsn, "migrated")
    upgrade(dsn)
    if pytestconfig.getoption("--partitioned"):
        execute(dsn, PARTITIONS.read_text())
    return "migrated"


@pytest.fixture(scope="session")
def catalogue_template(clone_database: Callable[[str], str], migrated_template: str, bksi: RunBksi) -> str:
    """The name of a migrated database that holds the sample catalogue."""
    dsn = clone_database(migrated_template)
    imported = bksi("catalogue", "import", *sample.CATALOGUE, env={"BKSI_POSTGRES_DSN": dsn})
    assert imported.returncode == 0, imported.stderr
    return dsn.rpartition("/")[2]


@pytest.fixture
def database(clone_database: Callable[[str], str], migrated_template: str, postgres_dsn: str) -> Iterator[str]:
    """DSN of a migrated database of this test's own, without rows."""
    yield from _own(clone_database(migrated_template), postgres_dsn)


@pytest.fixture
def catalogue_database(
    clone_database: Callable[[str], str], catalogue_template: str, postgres_dsn: str
) -> Iterator[str]:
    """DSN of a migrated database of this test's own with the sample catalogue (``devstack/sample``) in it."""
    yield from _own(clone_database(catalogue_template), postgres_dsn)


def _own(dsn: str, postgres_dsn: str) -> Iterator[str]:
    yield dsn
    execute(postgres_dsn, f'DROP DATABASE "{dsn.rpartition("/")[2]}" WITH (FORCE)')


def _with_database(dsn: str, name: str) -> str:
    return f"{dsn.rpartition('/')[0]}/{name}"


def execute(dsn: str, sql: str) -> None:
    """Run one statement, or several without arguments, on a connection of its own."""

    async def connect_and_execute() -> None:
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    asyncio.run(connect_and_execute())
