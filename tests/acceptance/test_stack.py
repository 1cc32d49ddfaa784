"""`bksi up`: what it writes, what outlives it, and that nothing else does."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
import redis as redis_client

from devstack import sample
from devstack.demo import ESB_PATH
from devstack.running import RunningStack
from devstack.sql import fetch
from devstack.stack import Stack
from plumbing.urls import without_secrets
from tests.acceptance.processes import TIMEOUT_S, family, left_of

PARTS = {"postgres", "redis", "shim", "flower", "worker"}
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., RunningStack]]:
    """Start a stack in this test's own directory, as often as the test likes; the last one is stopped afterwards."""
    started: list[RunningStack] = []

    def start(*options: str) -> RunningStack:
        started.append(RunningStack.start(tmp_path / "data", *options))
        return started[-1]

    yield start
    for stack in started:
        stack.stop()


@pytest.fixture
def usual_ports_taken() -> Iterator[None]:
    """Somebody listens on PostgreSQL's, Redis', our own and Flower's usual port."""
    with contextlib.ExitStack() as listeners:
        for port in (5432, 6379, 8080, 5555):
            # Whoever has it already serves as well.
            with contextlib.suppress(OSError):
                listeners.enter_context(socket.create_server(("127.0.0.1", port)))
        yield


class SetLate(threading.Event):
    """Is set just after somebody has found that it is not."""

    def wait(self, timeout: float | None = None) -> bool:
        was_set = self.is_set()
        self.set()
        return was_set


def test_stack_that_is_told_to_stop_between_two_looks_was_done(tmp_path: Path) -> None:
    with Stack(tmp_path / "data") as stack:
        stack.stopping = SetLate()
        stack.watch()


def test_stack_json_tells_where_everything_is_and_who_runs_it(stack: RunningStack) -> None:
    assert set(stack.pids) == PARTS
    assert {psutil.Process(pid).ppid() for pid in stack.pids.values()} == {stack.supervisor.pid}
    assert stack.broker == stack.redis
    assert httpx2.get(f"{stack.http}/readyz", timeout=TIMEOUT_S).status_code == 200
    assert httpx2.get(f"{stack.flower}/healthcheck", timeout=TIMEOUT_S).status_code == 200
    # It holds passwords.
    assert (stack.directory / "stack.json").stat().st_mode & 0o077 == 0


def test_only_loopback_is_listened_on(stack: RunningStack) -> None:
    for process in family(stack):
        with contextlib.suppress(psutil.NoSuchProcess):
            for connection in process.net_connections("inet"):
                assert connection.status != psutil.CONN_LISTEN or connection.laddr.ip == "127.0.0.1", process


def test_directory_in_use_is_refused_by_name(stack: RunningStack, bksi: Callable[..., Any]) -> None:
    refused = bksi("up", "--data-dir", stack.directory)
    assert refused.returncode == 1
    assert f"process {stack.supervisor.pid} runs a stack in {stack.directory}" in refused.stderr
    assert stack.runs


def test_port_of_another_stack_is_refused(stack: RunningStack, bksi: Callable[..., Any], tmp_path: Path) -> None:
    port = stack.http.rpartition(":")[2]
    refused = bksi("up", "--data-dir", tmp_path / "other", "--port", port)
    assert refused.returncode == 1
    assert refused.stderr == f"bksi: 127.0.0.1:{port} is in use: choose another --port, or 0 for any that is free\n"


@pytest.mark.parametrize("directory", ["/proc/nowhere", "/dev/null"])
def test_directory_that_cannot_be_written_to_is_said_by_name(directory: str, bksi: Callable[..., Any]) -> None:
    refused = bksi("up", "--data-dir", directory, "--port", 0)
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"bksi: --data-dir {directory}: ")
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("postgres", "redis", "said"),
    [
        ("mysql://u:CANARY@h/d", "redis://h", "BKSI_POSTGRES_DSN: give postgresql://"),
        ("postgresql://h/d", "h:6379", "BKSI_REDIS_URL: give redis://"),
        ("postgresql://h/d", "redis://:CANARY@127.0.0.1:1/0", "--redis (redis://127.0.0.1:1/0): Error "),
    ],
)
def test_given_server_that_cannot_be_used_is_said_in_one_line(
    postgres: str, redis: str, said: str, bksi: Callable[..., Any], tmp_path: Path
) -> None:
    refused = bksi("up", "--data-dir", tmp_path, "--port", 0, "--postgres", postgres, "--redis", redis)
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"bksi: {said}")
    assert refused.stderr.count("\n") == 1
    assert "CANARY" not in refused.stderr


def test_shell_that_reads_its_environment_has_the_commands_and_they_work_on_it(stack: RunningStack) -> None:
    file = stack.directory / "env"
    commands = f". {file} && bksi list --json --limit 1 && bksi dlq ls --json && bksi deliver ls --json"
    done = subprocess.run(
        ["/bin/sh", "-ec", commands], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    # It holds passwords.
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.usefixtures("usual_ports_taken", "stack")
def test_data_outlasts_ctrl_c_and_sigkill_and_neither_leaves_anything_else(start: Callable[..., RunningStack]) -> None:
    first = start()
    answer = submit_documented_request(first)
    processes = family(first)
    first.supervisor.send_signal(signal.SIGINT)
    assert first.supervisor.wait(TIMEOUT_S) == 0
    assert left_of(processes) == []
    assert not (first.directory / "stack.json").exists()
    assert not (first.directory / "env").exists()

    killed = start()
    assert submit_documented_request(killed)["data"] == answer["data"]
    poll = httpx2.get(f"{killed.http}/v1/batches/{answer['request_id']}", timeout=TIMEOUT_S).json()
    assert (poll["result"], poll["data"]) == (True, answer["data"])
    processes = family(killed)
    killed.supervisor.kill()
    killed.supervisor.wait()

    # At once: it waits until what was left is gone.
    successor = start()
    assert left_of(processes) == []
    assert submit_documented_request(successor)["data"] == answer["data"]

    processes = family(successor)
    os.kill(successor.pids["postgres"], signal.SIGKILL)
    assert successor.supervisor.wait(TIMEOUT_S) == 1
    assert left_of(processes) == []
    said = (successor.directory / "up.log").read_text()
    assert "postgres was ended by SIGKILL" in said
    assert "database system is ready to accept connections" in said


def test_servers_that_exist_already_are_used_and_left_alone(
    start: Callable[..., RunningStack], database: str, redis_url: str, redis: "redis_client.Redis"
) -> None:
    redis.config_set("appendfsync", "everysec")
    try:
        stack = start("--postgres", database, "--redis", redis_url, "--workers", "2")
    finally:
        redis.config_set("appendfsync", "always")
    warned = f"Warning  --redis ({without_secrets(redis_url)}): appendfsync is everysec"
    assert (stack.directory / "up.log").read_text().count(warned) == 1
    assert (stack.postgres, stack.redis) == (database, redis_url)
    assert set(stack.pids) == {"shim", "flower", "worker", "worker-2"}

    processes = family(stack)
    os.kill(stack.pids["worker-2"], signal.SIGKILL)
    assert stack.supervisor.wait(TIMEOUT_S) == 1
    assert left_of(processes) == []
    assert "worker-2 was ended by SIGKILL" in (stack.directory / "up.log").read_text()

    # Migrated, but no sample in it.
    assert asyncio.run(count(database, "module")) == 0


def submit_documented_request(stack: RunningStack) -> dict[str, Any]:
    answer = httpx2.post(
        stack.http + ESB_PATH,
        content=sample.REQUEST.read_bytes(),
        headers={"Content-Type": "application/json"},
        timeout=TIMEOUT_S,
    )
    envelope: dict[str, Any] = answer.json()
    assert envelope["result"] is True, envelope
    return envelope


async def count(dsn: str, table: str) -> int:
    [(number,)] = await fetch(dsn, f"SELECT count(*) FROM {table}")
    return int(number)
