"""PostgreSQL answers, and refuses what every request needs: nobody's fault, so nobody's start is counted."""

import json
from collections.abc import Iterator

import asyncpg
import httpx2
import pytest

from contract.message import new_request_id
from contract.redis.connection import connect
from contract.redis.records import PendingEntry
from contract.redis.requests import Requests
from contract.request.parse import parse
from contract.settings import Settings
from devstack.servers import Postgres
from tests.chaos.nursery import wait_until
from tests.chaos.system import CALLER, System, bound, unbound
from tests.conftest import execute

INTERNAL_ERROR = """
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'canary' USING ERRCODE = 'XX000'; END $$;
CREATE TRIGGER fail BEFORE INSERT ON process FOR EACH ROW EXECUTE FUNCTION fail()
"""
FAULTS = {
    "42501": ("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM app", "GRANT ALL ON ALL TABLES IN SCHEMA public TO app"),
    "42703": ("ALTER TABLE process RENAME start_cmd TO gone", "ALTER TABLE process RENAME gone TO start_cmd"),
    "42P01": ("ALTER TABLE audit_log RENAME TO gone", "ALTER TABLE gone RENAME TO audit_log"),
    "XX000": (INTERNAL_ERROR, "DROP TRIGGER fail ON process"),
}
"""By SQLSTATE: what breaks everything, and what mends it."""


@pytest.fixture
def as_app(system: System) -> Iterator[System]:
    """A system whose workers are no superuser."""
    execute(system.dsn, "DROP ROLE IF EXISTS app; CREATE ROLE app LOGIN PASSWORD 'app'")
    for kind in ("TABLES", "SEQUENCES"):
        execute(system.dsn, f"GRANT ALL ON ALL {kind} IN SCHEMA public TO app")
    system.worker_dsn = f"postgresql://app:app@{system.dsn.rpartition('@')[2]}"
    yield system
    system.close()
    execute(system.dsn, "DROP OWNED BY app; DROP ROLE app")


@pytest.mark.parametrize("sqlstate", FAULTS)
def test_fault_that_would_hit_every_request_counts_no_start(as_app: System, sqlstate: str) -> None:
    system, (breaks, mends) = as_app, FAULTS[sqlstate]
    worker = system.worker()
    _, url = system.shim()
    system.submit(bound(1))
    system.finish()

    execute(system.dsn, breaks)
    system.submit(*[unbound(host) for host in range(1, 21)])
    answer = wait_until(lambda: _is_paused(httpx2.get(f"{url}/readyz")), what="said in /readyz")
    execute(system.dsn, mends)

    reports = system.all_succeed(seconds=60)
    assert {report.attempts for report in reports} == {1}
    assert system.redis_keys("bksi:dead") == []
    assert f"SQLSTATE {sqlstate}" in answer.json()["paused"][0]
    assert "canary" not in worker.log.read_text()
    assert (answer.status_code, answer.json()["checks"]["database"]) == (503, False)
    wait_until(lambda: 'bksi_workers{state="working"} 1.0' in httpx2.get(f"{url}/metrics").text)
    assert httpx2.get(f"{url}/readyz").status_code == 200
    assert "takes no requests" in worker.log.read_text()


def _is_paused(answer: httpx2.Response) -> httpx2.Response | None:
    return answer if answer.json()["paused"] else None


def test_request_that_alone_meets_an_internal_error_is_given_up(system: System) -> None:
    """Its rows do what others' do not, a corrupted page for example: its starts count once others have succeeded."""
    only_host_7 = INTERNAL_ERROR.replace("FOR EACH ROW", "FOR EACH ROW WHEN (NEW.bk_host_id = 7)")
    execute(system.dsn, only_host_7)
    system.worker()
    (blamed,) = system.submit(unbound(7))

    def is_given_up() -> bool:
        system.submit(unbound(8))
        system.finish(list(system.told)[-1])
        return bool(system.redis_keys(f"bksi:result:{blamed}"))

    wait_until(is_given_up, seconds=60)
    (report,) = system.finish(blamed)
    assert report.code == 1190010
    assert system.finish()[-1].code == 0


def test_worker_whose_database_is_away_at_its_start_begins_when_it_is_back(system: System, postgres: Postgres) -> None:
    postgres.stop()
    worker = system.worker()
    system.listening(worker)
    system.submit(bound(1), unbound(2))
    postgres.start()

    system.all_succeed()
    assert worker.returncode is None


def test_session_that_may_only_read_is_not_used_again(system: System, postgres: Postgres) -> None:
    """Each new session can write, and there is one connection, which could not."""
    name = system.dsn.rpartition("/")[2]
    system.worker(BKSI_DATABASE_CONNECTIONS="1")
    system.submit(bound(1))
    system.finish()

    execute(postgres.url, f"ALTER DATABASE {name} SET default_transaction_read_only = off")
    execute(postgres.url, "ALTER SYSTEM SET default_transaction_read_only = on")
    execute(postgres.url, "SELECT pg_reload_conf()")
    try:
        system.submit(bound(2), unbound(3))
        reports = system.all_succeed()
    finally:
        execute(postgres.url, "ALTER SYSTEM RESET default_transaction_read_only")
        execute(postgres.url, "SELECT pg_reload_conf()")
    assert {report.attempts for report in reports} == {1}


def test_request_past_its_deadline_ends_while_every_connection_of_its_worker_waits(system: System) -> None:
    system.listening(system.worker(BKSI_DATABASE_CONNECTIONS="1"))
    holder = system.run(_lock_instances(system.dsn))
    try:
        system.submit(bound(1))
        wait_until(lambda: system.sql("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))
        request_id = system.run(_reserve_without_message(system.redis_url))
        with system.redis() as client:
            report = wait_until(lambda: client.get(f"bksi:result:{request_id}"), what="its end")
        assert json.loads(report)["code"] == 1190009
    finally:
        system.run(holder.close())
    system.all_succeed()


async def _lock_instances(dsn: str) -> "asyncpg.Connection":
    """A connection that keeps everybody from writing until it is closed."""
    connection = await asyncpg.connect(dsn)
    await connection.execute("BEGIN; LOCK TABLE service_instance")
    return connection


async def _reserve_without_message(redis_url: str) -> str:
    """Accept a request whose message is lost, and which is soon past its deadline."""
    settings = Settings(redis_url=redis_url, request_deadline_s=0.1)
    client = connect(settings)
    try:
        entry = PendingEntry.of(new_request_id(), parse(unbound(5).body()).batch, CALLER)
        return (await Requests(client, settings).submit(entry, b"")).request_id
    finally:
        await client.aclose()
