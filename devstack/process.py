"""Processes that end when they are told to, and when whoever started them is gone."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from devstack import guard


class ProcessFailed(Exception):
    """A process ended when it should have run, or never became ready. The text ends with the tail of its log."""


class Guard:
    """Ends every registered process group when this process dies, SIGKILL included (see `devstack.guard`).

    Args:
        keep: file descriptors that stay open until the guard has done so; a lock, for example.
        grace_s: how long the groups may take to stop, in seconds and in all, before SIGKILL.
    """

    def __init__(self, *keep: int, grace_s: float = 10.0) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__, str(grace_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=keep,
            cwd="/",
        )

    def __enter__(self) -> Self:
        """Nothing to do: the guard watches from the moment it is made."""
        return self

    def __exit__(self, *exc: object) -> None:
        """End what is still registered, and the guard itself."""
        self.close()

    @property
    def running(self) -> bool:
        """Whether the guard is on its post."""
        return self._process.poll() is None

    def watch(self, group: int, stop_signal: signal.Signals) -> None:
        """End `group` with `stop_signal` should this process die."""
        self._tell(f"+{group} {int(stop_signal)}\n")

    def forget(self, group: int) -> None:
        """`group` has ended; its number may soon be somebody else's."""
        self._tell(f"-{group}\n")

    def close(self) -> None:
        """End what is still registered, and the guard itself."""
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate()

    def _tell(self, line: str) -> None:
        orders = self._process.stdin
        assert orders is not None  # noqa: S101 - it is a pipe
        with contextlib.suppress(BrokenPipeError):
            orders.write(line.encode())
            orders.flush()


class Process:
    """One named process in a group of its own, its output appended to a log file.

    Args:
        name: what error messages call it.
        argv: the command; the first item is a path.
        log: where stdout and stderr go.
        guard: who ends it when this process cannot.
        env: the whole environment, or ``None`` for this process's own.
        stop_signal: what asks it to stop.
        grace_s: how long it may take, in seconds, before SIGKILL.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        log: Path,
        guard: Guard,
        env: Mapping[str, str] | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        grace_s: float = 10.0,
    ) -> None:
        self.name = name
        self.log = log
        self._guard = guard
        self._stop_signal = stop_signal
        self._grace_s = grace_s
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._log_start = output.tell()
            self._process = subprocess.Popen(
                [str(part) for part in argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env=env,
                cwd="/",
            )
        guard.watch(self._process.pid, stop_signal)

    def __enter__(self) -> Self:
        """The process runs already."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Stop it."""
        self.stop()

    @property
    def pid(self) -> int:
        """Its process id, which is also its group's."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code, minus the signal's number when a signal ended it; ``None`` while it runs."""
        return self._process.poll()

    def ask_to_stop(self) -> None:
        """Send the stop signal and return at once."""
        if self.returncode is None:
            self._process.send_signal(self._stop_signal)

    def stop(self) -> None:
        """Ask it to stop, wait, and kill what is left of its group."""
        self.ask_to_stop()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(self._grace_s)
        self.kill()

    def kill(self) -> None:
        """SIGKILL to the whole group, whether or not its leader still lives."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self._guard.forget(self.pid)

    def wait_until(self, ready: Callable[[], bool], *, timeout_s: float, every_s: float = 0.02) -> None:
        """Wait until `ready` says so; it is asked every `every_s` seconds.

        Raises:
            ProcessFailed: it ended first, or `timeout_s` seconds went by.
        """
        deadline = time.monotonic() + timeout_s
        while not ready():
            if self.returncode is not None:
                raise ProcessFailed(self.obituary())
            if time.monotonic() > deadline:
                raise ProcessFailed(f"{self.name} was not ready after {timeout_s:.0f} s\n{self.tail()}")
            time.sleep(every_s)

    def rotate(self, at_bytes: int) -> None:
        """Keep the log short: at `at_bytes` it becomes ``<log>.1``, in place of an older one, and begins anew.

        The process goes on writing to the same file, so what it writes during the copy may be missing.
        """
        if self.log.stat().st_size >= at_bytes:
            # On a full disk the old one is what makes room.
            with contextlib.suppress(OSError):
                shutil.copyfile(self.log, f"{self.log}.1")
            os.truncate(self.log, 0)
            self._log_start = 0

    def obituary(self) -> str:
        """How it ended, and the last it said."""
        match self.returncode:
            case None:
                how = "still runs"
            case code if code < 0:
                how = f"was ended by {signal.Signals(-code).name}"
            case code:
                how = f"exited with {code}"
        return f"{self.name} {how}\n{self.tail()}"

    def tail(self, lines: int = 20) -> str:
        """The last lines of its log since this start, indented, under the log's path."""
        with self.log.open("rb") as output:
            output.seek(self._log_start)
            text = output.read().decode(errors="replace")
        return "\n".join([f"  {self.log}:", *(f"    {line}" for line in text.splitlines()[-lines:])])
