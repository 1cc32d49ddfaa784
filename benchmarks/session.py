"""The servers of one session: a PostgreSQL set up as in production, and two Valkeys.

PostgreSQL flushes every commit to disk (fsync and synchronous_commit on). The "durable" Valkey is the project's own:
append-only, every write on disk before it is answered. The "usual" one is what a peer's documentation starts: Redis'
default configuration, which takes a snapshot now and then and may lose what came after it.
"""

import asyncio
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import asyncpg
import redis
import stamina

from benchmarks.shapes import Shape, load_catalogue
from devstack.ports import free_port
from devstack.process import Guard
from devstack.servers import Postgres, Valkey
from devstack.sql import fetch
from worker.postgres.migrate import upgrade

ROOT: Final = Path(__file__).parents[1]
POSTGRES_SETTINGS: Final = {
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "15min",
    "effective_cache_size": "4GB",
    "random_page_cost": "1.1",
    "jit": "off",
}
USUAL_REDIS: Final = {"appendonly": "no", "save": "3600 1 300 100 60 10000"}
DATA_TABLES: Final = ("service_instance", "process", "process_bind_info")
_WRITTEN: Final = (*DATA_TABLES, "audit_log", "request_ledger")


@dataclass(frozen=True)
class Session:
    """Where the servers are, and who ends them and everything else should this process die."""

    directory: Path
    guard: Guard
    postgres: Postgres
    durable_redis: Valkey
    usual_redis: Valkey
    modules: int
    http_port: int

    def redis(self, kind: str) -> Valkey:
        """The Valkey of that kind: ``durable`` or ``usual``; BENCH_REDIS gives everybody the one it names."""
        return self.durable_redis if os.environ.get("BENCH_REDIS", kind) == "durable" else self.usual_redis

    def environment(self, kind: str) -> dict[str, str]:
        """The caller's environment, and where the servers are: what workers and clients are started with."""
        url, dsn = self.redis(kind).url, self.postgres.url
        return os.environ | {
            "PYTHONPATH": str(ROOT),
            "BKSI_REDIS_URL": url,
            "BKSI_POSTGRES_DSN": dsn,
            "BKSI_MAX_PENDING": os.environ.get("BKSI_MAX_PENDING", "2000000"),
            "BKSI_LOG_LEVEL": os.environ.get("BKSI_LOG_LEVEL", "WARNING"),
            "BENCH_REDIS_URL": url,
            "BENCH_POSTGRES_DSN": dsn,
            "BENCH_HTTP_PORT": str(self.http_port),
        }

    @stamina.retry(on=asyncpg.DeadlockDetectedError, attempts=5)
    def empty(self) -> None:
        """Remove everything that requests left in PostgreSQL; the catalogue stays.

        A worker that looks around meanwhile, its reaper for example, locks the same tables in another order.
        """
        self.sql(f"TRUNCATE {', '.join(_WRITTEN)}, cmdb_instance, cmdb_process")
        # Every run begins with an empty write-ahead log, and none meets another's checkpoint.
        self.sql("CHECKPOINT")

    def with_modules(self, modules: int) -> "Session":
        """The same session, whose requests name so many modules whether or not the catalogue has them."""
        return replace(self, modules=modules)

    def database(self, name: str) -> str:
        """Make an empty database on the same server; its DSN."""
        self.sql(f'CREATE DATABASE "{name}"')
        return f"{self.postgres.url.rpartition('/')[0]}/{name}"

    def flush(self, kind: str) -> None:
        """Remove everything from a Valkey."""
        with redis.Redis.from_url(self.redis(kind).url) as client:
            client.flushall()

    def count_rows(self) -> int:
        """Service instances, processes and bind rows that are stored."""
        counts = " + ".join(f"(SELECT count(*) FROM {table})" for table in DATA_TABLES)
        return int(self.sql(f"SELECT {counts}")[0][0])

    def sql(self, statement: str) -> Sequence[Any]:
        """Run one statement as superuser; its rows."""
        return asyncio.run(fetch(self.postgres.url, statement))


@contextmanager
def open_session(shapes: Sequence[Shape], modules: int, *, autovacuum: bool = False) -> Iterator[Session]:
    """Start the servers, migrate, and load the catalogue; afterwards nothing is left.

    Args:
        shapes: whose templates the catalogue needs.
        modules: how many modules of 100 hosts each.
        autovacuum: whether the tables that grow are vacuumed and analyzed. Off in short comparisons: an ANALYZE in the
            middle of one system's run would be luck, and on nearly empty tables it spoils the plans of those peers
            that do not turn sequential scans off.
    """
    with ExitStack() as stack:
        temporary = tempfile.TemporaryDirectory(prefix="bksi-bench-", ignore_cleanup_errors=True)
        directory = Path(stack.enter_context(temporary))
        guard = stack.enter_context(Guard())
        postgres = stack.enter_context(Postgres(directory / "postgres", guard))
        for name, value in POSTGRES_SETTINGS.items():
            asyncio.run(fetch(postgres.url, f"ALTER SYSTEM SET {name} = '{value}'"))
        postgres.stop()
        postgres.start()
        durable = stack.enter_context(Valkey(directory / "redis-durable", guard))
        usual = stack.enter_context(Valkey(directory / "redis-usual", guard))
        with redis.Redis.from_url(usual.url) as client:
            for name, value in USUAL_REDIS.items():
                client.config_set(name, value)
        upgrade(postgres.url)
        asyncio.run(load_catalogue(postgres.url, list(shapes), modules))
        session = Session(directory, guard, postgres, durable, usual, modules, free_port())
        if not autovacuum:
            for table in _WRITTEN:
                session.sql(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
        yield session
