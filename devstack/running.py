"""A stack in a process of its own, for tests, benchmarks and everything else that drives the system from outside."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from devstack.data_directory import Addresses
from devstack.process import ProcessFailed

BKSI = Path(sys.executable).with_name("bksi")
READY_TIMEOUT_S = 180


@dataclass(frozen=True)
class RunningStack(Addresses):
    """What ``stack.json`` says, and where it runs."""

    directory: Path
    supervisor: "subprocess.Popen[bytes]"
    """The `bksi up` process."""

    @classmethod
    def start(cls, directory: Path, *options: str, env: Mapping[str, str] | None = None) -> Self:
        """Run `bksi up` on free ports and wait until it is ready.

        Args:
            directory: its data directory; what it prints goes to ``up.log`` in it.
            options: further options of `bksi up`.
            env: variables to set for the whole stack (``BKSI_COMPAT_WAIT_S`` …).

        Raises:
            ProcessFailed: it ended, or was not ready in time. What it printed is in the text.
        """
        directory.mkdir(parents=True, exist_ok=True)
        description, output = directory / "stack.json", directory / "up.log"
        description.unlink(missing_ok=True)
        with output.open("wb") as out:
            supervisor = subprocess.Popen(
                [BKSI, "up", "--data-dir", directory, "--port", "0", *options],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=os.environ | dict(env or {}),
            )
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not description.exists():
            if supervisor.poll() is not None or time.monotonic() > deadline:
                supervisor.terminate()
                supervisor.wait()
                raise ProcessFailed(f"bksi up exited with {supervisor.returncode}:\n{output.read_text()}")
            time.sleep(0.05)
        return cls(**json.loads(description.read_text()), directory=directory, supervisor=supervisor)

    def __enter__(self) -> Self:
        """It runs already."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Stop it."""
        self.stop()

    @property
    def logs(self) -> Path:
        """Directory of the parts' logs: ``worker.log``, ``shim.log`` and so on."""
        return self.directory / "logs"

    def stop(self) -> int:
        """Stop it as SIGTERM does; the exit code."""
        self.supervisor.terminate()
        return self.supervisor.wait()
