"""Starts `bksi` processes in tenths of a second: a process that has loaded every library, and forks for each one.

What runs in the child is the command as a user starts it; only the loading of libraries is shared. Run as a file, it
reads ``{"command": […], "environment": {…}, "log": path}`` a line and answers ``{"started": pid}``, and later
``{"ended": pid, "status": n}``.
"""

import importlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import psutil

from contract.cli import main as bksi
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
        self._process = subprocess.Popen([sys.executable, "-P", __file__], stdin=orders, stdout=news)
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

    def spawn(self, *command: str, environment: Mapping[str, str], log: Path) -> Child:
        """Run ``bksi *command`` with `environment` added to this process's own."""
        order = {"command": command, "environment": dict(environment), "log": str(log)}
        log.touch()
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


def main() -> None:
    """Fork for every line, and tell of every end."""
    _load()
    ended, ends = os.pipe()
    os.set_blocking(ends, False)
    signal.set_wakeup_fd(ends)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    orders = b""
    while True:
        ready, _, _ = select.select([0, ended], [], [])
        if ended in ready:
            os.read(ended, 4096)
            _collect()
        if 0 in ready:
            chunk = os.read(0, 65_536)
            if not chunk:
                return
            *lines, orders = (orders + chunk).split(b"\n")
            for line in lines:
                _start(json.loads(line))


# Everything but `worker.app`, which reads the settings when it is imported.
_LOADED = (
    *(
        "asyncpg",
        "redis.asyncio",
        "celery.apps.worker",
        "celery.bin.worker",
        "celery.bin.celery",
        "celery.fixups.django",
    ),
    *("celery.app.amqp", "celery.app.control", "celery.app.events", "celery.app.log", "celery.events.state"),
    *("celery.worker.consumer", "celery.worker.control", "celery.worker.strategy", "celery.worker.components"),
    *("worker.cli", "worker.serve", "worker.pool", "worker.tasks", "worker.runtime", "worker.transport.redis"),
    *("api_shim.cli", "api_shim.http.server"),
)


def _load() -> None:
    for name in _LOADED:
        importlib.import_module(name)
    if threading.active_count() > 1:
        raise RuntimeError("a library started a thread when it was loaded; nothing may be forked then")


def _start(order: dict[str, Any]) -> None:
    pid = os.fork()
    if pid:
        _tell({"started": pid})
        return
    status = 1
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        log = os.open(order["log"], os.O_WRONLY | os.O_APPEND)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.closerange(3, 256)
        os.environ.update(order["environment"])
        sys.argv = ["bksi", *order["command"]]
        bksi()
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _collect() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        _tell({"ended": pid, "status": os.waitstatus_to_exitcode(status)})


def _tell(message: dict[str, Any]) -> None:
    os.write(1, (json.dumps(message) + "\n").encode())


if __name__ == "__main__":
    main()
