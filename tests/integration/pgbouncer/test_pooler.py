"""A pooler that lends whole sessions is as good as PostgreSQL itself; any other is refused in one sentence."""

import json
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from chaos.nursery import Nursery
from contract.settings import Settings
from tests.conftest import RunBksi
from tests.integration.live import LiveWorker
from tests.integration.pgbouncer.conftest import Pooled
from tests.integration.worker.postgres.plans import fetch
from worker.commands.doctor.examine import examine
from worker.commands.doctor.finding import Level
from worker.postgres.engine import make_engine

pytestmark = pytest.mark.anyio
SAID = "a pooler that lends a server for one transaction or statement"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_pool_of_transactions_is_refused(
    pooled: Pooled, redis_url: str, database: str, bksi: RunBksi, mode: str
) -> None:
    dsn = pooled(database, mode)
    for command, setting in (("worker", "POSTGRES_DSN"), ("migrate", "POSTGRES_DSN"), ("read", "READ_DSN")):
        done = bksi(command, env={"BKSI_REDIS_URL": redis_url, f"BKSI_{setting}": dsn})
        _is_refused(done, f"bksi {command}: BKSI_{setting} (postgresql://127.0.0.1:")


def _is_refused(done: CompletedProcess[str], by: str) -> None:
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    # A worker's and a reader's last words are a line of their log.
    said = json.loads(last)["event"] if last.startswith("{") else last
    assert said.startswith(by)
    assert SAID in said
    assert "pool_mode = session" in said
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("mode", ["transaction", "statement"])
async def test_doctor_names_a_pool_of_transactions(pooled: Pooled, redis_url: str, database: str, mode: str) -> None:
    found = await examine(Settings(redis_url=redis_url, postgres_dsn=pooled(database, mode)))

    (finding,) = [finding for finding in found if SAID in finding.found]
    assert (finding.level, finding.check) == (Level.ERROR, "postgres sessions and rights")


async def test_pool_of_sessions_has_the_workers_settings(pooled: Pooled, database: str) -> None:
    """As startup parameters PgBouncer would refuse them, or drop them where it is told to ignore them."""
    engine = make_engine(Settings(postgres_dsn=pooled(database, "session"), statement_timeout_ms=12_345))

    names = ("enable_seqscan", "statement_timeout", "idle_in_transaction_session_timeout", "application_name")
    shown = [(await fetch(engine, f"SHOW {name}"))[0][0] for name in names]

    assert shown == ["off", "12345ms", "12345ms", "bksi worker"]
    await engine.dispose()


def test_requests_are_done_through_a_pool_of_sessions(
    pooled: Pooled, redis_url: str, catalogue_database: str, nursery: Nursery, tmp_path: Path
) -> None:
    settings = {"BKSI_REDIS_URL": redis_url, "BKSI_POSTGRES_DSN": pooled(catalogue_database, "session")}
    with LiveWorker(settings, tmp_path, nursery) as worker:
        reports = [worker.report(worker.send(host)) for host in range(1, 41)]

    assert {report["code"] for report in reports} == {0}
    assert {report["attempts"] for report in reports} == {1}
