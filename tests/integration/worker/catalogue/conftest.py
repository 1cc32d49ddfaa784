"""A small CMDB, an engine on a database of the test's own, and its catalogue as rows."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from devstack.sql import fetch
from tests.integration.worker.catalogue.cmdb_server import CmdbServer
from worker.postgres.engine import create_engine

CATALOGUE = ("service_template", "process_template", "module", "host", "module_host_relation")
INSTANCES = ("service_instance", "process", "process_bind_info", "audit_log", "request_ledger")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def cmdb() -> Iterator[CmdbServer]:
    """A CMDB that serves an empty business 1."""
    with CmdbServer().serving() as server:
        yield server


@pytest.fixture
async def engine(anyio_backend: str, database: str) -> AsyncIterator[AsyncEngine]:
    """An engine on a migrated database without rows."""
    engine = create_engine(database, connections=4)
    yield engine
    await engine.dispose()


async def rows(dsn: str, *tables: str) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of the tables in the order of their keys, without the time they were imported."""
    return {
        table: [
            tuple(value for name, value in record.items() if name != "imported_at")
            for record in await fetch(dsn, f"SELECT * FROM {table} ORDER BY 1, 2")
        ]
        for table in tables or CATALOGUE
    }
