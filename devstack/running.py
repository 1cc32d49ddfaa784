"""A stack in a process of its own, for tests, benchmarks and everything else that drives the system from outside."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

from devstack.data_directory import Addresses
from devstack.process import Guard, ProcessFailed

BKSI = Path(sys.executable).with_name("bksi")
READY_TIMEOUT_S = 180


def runs(process: psutil.Process) -> bool:
    """Whether a process has not ended. One that has, and waits to be collected, does not run."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@dataclass(frozen=True)
class RunningStack(Addresses):
    """What ``stack.json`` says, and where it runs."""

    directory: Path
    supervisor: psutil.Process
    """The `bksi up` process."""

    @classmethod
    def start(
        cls, directory: Path, *options: str, env: Mapping[str, str] | None = None, guard: Guard | None = None
    ) -> Self:
        """Run `bksi up` on free ports and wait until it is ready.

        Args:
            directory: its data directory; what it prints goes to ``up.log`` in it.
            options: further options of `bksi up`.
            env: variables to set for the whole stack (``BKSI_COMPAT_WAIT_S`` …).
            guard: ends it should this process be killed. Ctrl-C then reaches this process alone.

        Raises:
            ProcessFailed: it ended, or was not ready in time. What it printed is in the text.
        """
        directory.mkdir(parents=True, exist_ok=True)
        description, output = directory / "stack.json", directory / "up.log"
        description.unlink(missing_ok=True)
        with output.open("wb") as out:
            supervisor = psutil.Popen(
                [BKSI, "up", "--data-dir", directory, "--port", "0", *options],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=os.environ | dict(env or {}),
                start_new_session=guard is not None,
            )
        if guard:
            guard.watch(supervisor.pid, signal.SIGTERM)
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not description.exists():
            if supervisor.poll() is not None or time.monotonic() > deadline:
                supervisor.terminate()
                supervisor.wait()
                raise ProcessFailed(f"bksi up exited with {supervisor.returncode}:\n{output.read_text()}")
            time.sleep(0.05)
        return cls(**json.loads(description.read_text()), directory=directory, supervisor=supervisor)

    @classmethod
    def find(cls, directory: Path) -> Self:
        """The one that another process has started in `directory`, and will stop."""
        supervisor = psutil.Process(int((directory / "lock").read_text()))
        return cls(**json.loads((directory / "stack.json").read_text()), directory=directory, supervisor=supervisor)

    def __enter__(self) -> Self:
        """It runs already."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Stop it."""
        self.stop()

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return runs(self.supervisor)

    @property
    def logs(self) -> Path:
        """Directory of the parts' logs: ``worker.log``, ``shim.log`` and so on."""
        return self.directory / "logs"

    def stop(self) -> int | None:
        """Stop it as SIGTERM does; the exit code."""
        if self.runs:
            self.supervisor.terminate()
        return self.supervisor.wait()
