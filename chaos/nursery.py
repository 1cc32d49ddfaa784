"""Starts `bksi` processes in tenths of a second: a process that has loaded every library, and forks for each one.

What runs in the child is the command as a user starts it; only the loading of libraries is shared (`chaos.nurse`).
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import psutil

from devstack.process import Guard, ProcessFailed

WAIT_S = 60.0


class Child:
    """One process in a group of its own."""

    def __init__(self, pid: int, log: Path, guard: Guard) -> None:
        self.pid = pid
        self.log = log
        self.ended = threading.Event()
        self.returncode: int | None = None
        self._guard = guard

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens when it has ended."""
        if not self.ended.is_set():
            os.kill(self.pid, number)

    def wait(self, seconds: float = WAIT_S) -> int:
        """Wait for its end; its exit code, minus the signal's number when a signal ended it.

        Raises:
            ProcessFailed: it has not ended after `seconds`.
        """
        if not self.ended.wait(seconds) or self.returncode is None:
            raise ProcessFailed(f"process {self.pid} is {self._status()} after {seconds} s\n{self.tail()}")
        return self.returncode

    def _status(self) -> str:
        """What the kernel says of it: ``disk-sleep`` and ``zombie`` are other stories than ``running``."""
        try:
            return psutil.Process(self.pid).status()
        except psutil.NoSuchProcess:
            return "gone, and nobody told,"

    def kill(self) -> None:
        """SIGKILL, and wait."""
        self.signal(signal.SIGKILL)
        self.wait()

    def stop(self, seconds: float = WAIT_S) -> None:
        """SIGTERM, and SIGKILL to what has not ended after `seconds`."""
        self.signal(signal.SIGTERM)
        self.ended.wait(seconds)
        self.kill()

    def tail(self, lines: int = 15) -> str:
        """The last it said."""
        return "\n".join(self.log.read_text().splitlines()[-lines:])

    def end(self, status: int) -> None:
        """The nursery has collected it."""
        self.returncode = status
        self._guard.forget(self.pid)
        self.ended.set()


def _pipe() -> tuple[TextIO, TextIO]:
    """The ends to read from and to write to, by lines."""
    read, write = os.pipe()
    return open(read, encoding="utf-8"), open(write, "w", encoding="utf-8", buffering=1)  # noqa: PTH123


class Nursery:
    """Use as a context manager; ends every child at the end. `spawn` is for one thread at a time."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._children: dict[int, Child] = {}
        self._lock = threading.Lock()
        self._started = threading.Semaphore(0)
        self._pid = 0
        orders, self._orders = _pipe()
        self._news, news = _pipe()
        self._process = subprocess.Popen([sys.executable, "-P", "-m", "chaos.nurse"], stdin=orders, stdout=news)
        orders.close()
        news.close()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._early: dict[int, int] = {}

    def __enter__(self) -> "Nursery":
        self._reader.start()
        return self

    def __exit__(self, *exc: object) -> None:
        for child in list(self._children.values()):
            child.kill()
        self._orders.close()
        self._process.wait()
        self._reader.join()
        self._news.close()

    def spawn(self, *command: str, environment: Mapping[str, str], log: Path, output: Path | None = None) -> Child:
        """Run ``bksi *command`` with `environment` added to this process's own.

        What it prints goes to `log`; the results, on standard output, to `output` if there is one.
        """
        output = output or log
        order = {"command": command, "environment": dict(environment), "output": str(output), "errors": str(log)}
        for file in (output, log):
            file.touch()
        self._orders.write(json.dumps(order) + "\n")
        if not self._started.acquire(timeout=WAIT_S):
            raise ProcessFailed("the nursery does not answer")
        child = Child(self._pid, log, self._guard)
        with self._lock:
            self._children[child.pid] = child
            status = self._early.pop(child.pid, None)
        self._guard.watch(child.pid, signal.SIGKILL)
        if status is not None:
            child.end(status)
        return child

    def _read(self) -> None:
        for line in self._news:
            message: dict[str, Any] = json.loads(line)
            if "started" in message:
                self._pid = message["started"]
                self._started.release()
                continue
            with self._lock:
                child = self._children.pop(message["ended"], None)
                if child is None:
                    self._early[message["ended"]] = message["status"]
            if child is not None:
                child.end(message["status"])
