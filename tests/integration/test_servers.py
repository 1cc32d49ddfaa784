"""The embedded servers: what outlives what."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest
import redis as redis_client
from redis.backoff import NoBackoff
from redis.retry import Retry

from devstack.process import Guard, Process, ProcessFailed
from devstack.running import runs
from devstack.servers import Postgres, Valkey
from devstack.sql import fetch


@pytest.fixture
def postgres(guard: Guard, tmp_path: Path) -> Iterator[Postgres]:
    with Postgres(tmp_path / "postgres", guard) as server:
        yield server


@pytest.fixture
def valkey(guard: Guard, tmp_path: Path) -> Iterator[Valkey]:
    with Valkey(tmp_path / "redis", guard) as server:
        yield server


def test_rows_survive_sigkill_of_postgres_and_the_port_stays(postgres: Postgres) -> None:
    url = postgres.url
    sql(url, "CREATE TABLE kept AS SELECT 1 AS one")

    postgres.kill()
    postgres.start()

    assert postgres.url == url
    assert sql(url, "SELECT one FROM kept") == 1


def test_keys_survive_sigkill_of_valkey_and_its_settings_are_the_ledgers(valkey: Valkey) -> None:
    with redis_client.Redis.from_url(valkey.url) as client:
        client.set("kept", "1")
        valkey.kill()
        valkey.start()
        assert client.get("kept") == b"1"
        settings = client.config_get("*")
    assert {name: settings[name] for name in ("appendonly", "appendfsync", "maxmemory-policy", "save")} == {
        "appendonly": "yes",
        "appendfsync": "always",
        "maxmemory-policy": "noeviction",
        "save": "",
    }


def test_postgres_starts_over_a_stale_pid_file_whose_pid_is_somebody_elses(postgres: Postgres) -> None:
    postgres.kill()
    pid_file = postgres.data / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]))

    postgres.start()

    assert sql(postgres.url, "SELECT 1") == 1


def test_postgres_starts_while_a_backend_of_the_killed_one_still_computes(postgres: Postgres) -> None:
    async def kill_in_mid_query() -> None:
        connection = await asyncpg.connect(postgres.url)
        query = asyncio.create_task(connection.fetch("SELECT sum(n) FROM generate_series(1, 1e12) n"))
        other = await asyncpg.connect(postgres.url)
        while not await other.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%1e12%' AND pid <> pg_backend_pid()"
        ):
            await asyncio.sleep(0.02)
        postgres.kill()
        postgres.start()
        await asyncio.gather(query, return_exceptions=True)
        connection.terminate()
        other.terminate()

    asyncio.run(kill_in_mid_query())

    assert sql(postgres.url, "SELECT 1") == 1


def test_postgres_takes_over_from_a_server_that_lost_its_supervisor(postgres: Postgres, guard: Guard) -> None:
    orphan = psutil.Process(postgres.pid)
    with Postgres(postgres.directory, guard) as successor:
        assert sql(successor.url, "SELECT 1") == 1
        assert not runs(orphan)


@pytest.mark.parametrize("server_class", [Postgres, Valkey])
def test_server_says_why_it_did_not_start_on_a_port_that_is_taken(
    server_class: type[Postgres | Valkey], guard: Guard, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = server_class(tmp_path / "server", guard)
        server.port = taken.getsockname()[1]
        with pytest.raises(ProcessFailed, match="in use"):
            server.start()


def test_servers_refuse_who_has_no_password(postgres: Postgres, valkey: Valkey) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        sql(postgres.url.replace(postgres.password, "guess"), "SELECT 1")
    with (
        redis_client.Redis(port=valkey.port or 0, retry=Retry(NoBackoff(), 0)) as client,
        pytest.raises(redis_client.AuthenticationError),
    ):
        client.ping()
    for server in (postgres, valkey):
        assert (server.directory / "password").stat().st_mode & 0o077 == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
def test_postgres_runs_as_a_plain_user_inside_a_directory_that_only_root_can_enter(
    guard: Guard, tmp_path: Path
) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    with Postgres(private / "postgres", guard) as server:
        assert sql(server.url, "SELECT 1") == 1
        assert psutil.Process(server.pid).username() == "nobody"
    assert private.stat().st_mode & 0o777 == 0o700


PARENT = """
import os, sys, time
from pathlib import Path
from devstack.process import Guard, Process
guard = Guard(grace_s=0.3)
# A process that ignores the polite signal, with a child of its own in the same group.
script = "trap '' TERM; sleep 1000 & wait; sleep 1000"
stubborn = Process("stubborn", ["/bin/sh", "-c", script], log=Path(sys.argv[1]), guard=guard)
print(stubborn.pid, flush=True)
time.sleep(1000)
"""


def test_guard_ends_whole_groups_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, tmp_path / "log"], stdout=subprocess.PIPE, text=True
    ) as supervisor:
        assert supervisor.stdout
        leader = psutil.Process(int(supervisor.stdout.readline()))
        family = [leader, *leader.children(recursive=True)]
        supervisor.send_signal(signal.SIGKILL)
    _, left = psutil.wait_procs([process for process in family if runs(process)], timeout=20)
    assert not [process for process in left if runs(process)]


def test_process_failure_tells_name_exit_code_and_last_words(guard: Guard, tmp_path: Path) -> None:
    process = Process("talker", ["/bin/sh", "-c", "echo last words; exit 3"], log=tmp_path / "log", guard=guard)
    with process, pytest.raises(ProcessFailed, match=r"(?s)talker exited with 3.*last words"):
        process.wait_until(lambda: False, timeout_s=10)


def sql(dsn: str, statement: str) -> object:
    rows = asyncio.run(fetch(dsn, statement))
    return rows[0][0] if rows else None
