"""What the stack's servers have in common: a directory, a password, a port, and how they start and stop.

Nothing is shared between two servers on one machine: no fixed port, no lock file, no socket directory. Data lives in
``directory/data`` and outlasts restarts, SIGKILL included. A random password is made once per directory, for
loopback is open to every user of the machine.
"""

import secrets
import signal
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Self

from devstack.ports import free_port
from devstack.process import Guard, Process, ProcessFailed

# Nothing of the caller's environment (PGPORT, PGDATA, LANG …) reaches a server.
PLAIN_ENVIRONMENT = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C", "TZ": "UTC"}


class Server(ABC):
    """A database server in a directory of its own; its output goes to ``directory/server.log`` or to `log`."""

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, directory: Path, guard: Guard, *, log: Path | None = None) -> None:
        self.directory = directory.absolute()
        self.data = self.directory / "data"
        self.log = log or self.directory / "server.log"
        self.port: int | None = None
        """Of 127.0.0.1: a free one at the first start, and kept."""
        self.process: Process | None = None
        self._guard = guard
        self.directory.mkdir(parents=True, exist_ok=True)
        self.password = _password(self.directory / "password")

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Stop it."""
        self.stop()

    @property
    @abstractmethod
    def url(self) -> str:
        """Where to reach it, password included."""

    @property
    def pid(self) -> int:
        """The server's process id.

        Raises:
            ProcessFailed: it does not run.
        """
        if self.process is None:
            raise ProcessFailed(f"{self.name} does not run")
        return self.process.pid

    def start(self) -> None:
        """Start and wait until it accepts connections.

        Raises:
            ProcessFailed: it did not come up; the text has the tail of its log.
        """
        tries = 1 if self.port else 5
        while True:
            tries -= 1
            port = self.port or free_port()
            self.process = self._spawn(port)
            try:
                self.process.wait_until(self._accepts, timeout_s=60)
            except ProcessFailed as failed:
                self.stop()
                # Somebody took the port between the look and the start.
                if tries and "in use" in str(failed):
                    continue
                raise
            self.port = port
            return

    def stop(self) -> None:
        """Stop cleanly; nothing happens when it does not run."""
        if self.process:
            self.process.stop()
            self.process = None

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        if self.process:
            self.process.kill()
            self.process = None

    @abstractmethod
    def _spawn(self, port: int) -> Process: ...

    @abstractmethod
    def _accepts(self) -> bool: ...


def _password(path: Path) -> str:
    """The password kept in `path`, which only its owner can read; made at the first call."""
    if not path.exists():
        fresh = path.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text(secrets.token_urlsafe(24))
        fresh.rename(path)
    return path.read_text()
