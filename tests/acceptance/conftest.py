"""The whole system, as a user starts it: one `bksi up` a run, with the sample catalogue in it."""

import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from devstack.stack import Addresses
from tests.conftest import BKSI

READY_TIMEOUT_S = 100


@dataclass(frozen=True)
class RunningStack(Addresses):
    """What ``stack.json`` says (`http`, `flower`, `broker`, `redis`, `postgres`, `pids`), and where it is."""

    directory: Path
    supervisor: "subprocess.Popen[bytes]"

    @property
    def logs(self) -> Path:
        """Directory of the parts' logs: ``worker.log``, ``shim.log`` …"""
        return self.directory / "logs"


def start_stack(directory: Path, *options: str, env: Mapping[str, str] | None = None) -> RunningStack:
    """Run `bksi up` on free ports and wait until it is ready. The caller ends `supervisor`."""
    output = directory.with_name(f"{directory.name}.out")
    with output.open("ab") as out:
        supervisor = subprocess.Popen(
            [BKSI, "up", "--data-dir", directory, "--port", "0", *options],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=os.environ | dict(env or {}),
        )
    description = directory / "stack.json"
    deadline = time.monotonic() + READY_TIMEOUT_S
    while not description.exists() and supervisor.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    if not description.exists():
        supervisor.terminate()
        supervisor.wait()
        pytest.fail(f"the stack did not start:\n{output.read_text()}")
    return RunningStack(**json.loads(description.read_text()), directory=directory, supervisor=supervisor)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """The whole system, shared by all tests of the run: leave nothing broken in it. Stop nothing, kill nothing."""
    running = start_stack(tmp_path_factory.mktemp("stack") / "data")
    yield running
    running.supervisor.terminate()
    assert running.supervisor.wait(timeout=60) == 0
