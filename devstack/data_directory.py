"""The data directory of one stack: held by it alone, and saying where everything is while it runs."""

import fcntl
import json
import os
import shlex
import shutil
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil


class DirectoryUnusable(Exception):
    """The data directory cannot be written to, or another stack runs on it."""


@dataclass(frozen=True)
class Addresses:
    """What ``stack.json`` holds: where everything is, and the process ids."""

    http: str
    flower: str
    broker: str
    redis: str
    postgres: str
    metrics: list[str]
    """For Prometheus: the server's, then each worker's."""
    pids: dict[str, int]


class DataDirectory:
    """Made when missing, kept afterwards."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.description = self.path / "stack.json"
        self.environment = self.path / "env"
        """For a shell: what points the commands of `bksi` at this stack."""
        self._lock = -1

    def take(self) -> int:
        """Take it for this process alone; the descriptor that holds it, for whoever is to hold it as well.

        Raises:
            DirectoryUnusable: another stack has it, or it cannot be written to.
        """
        try:
            # Connection strings with passwords are kept in it.
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _lock(self.path / "lock")
            self.forget()
        except OSError as error:
            raise DirectoryUnusable(f"--data-dir {self.path}: {error.strerror}") from None
        return self._lock

    def tell(self, addresses: Addresses) -> None:
        """Write down where everything is."""
        _write_atomically(self.environment, _exports(addresses))
        _write_atomically(self.description, json.dumps(asdict(addresses), indent=2) + "\n")

    def forget(self) -> None:
        """Where everything is, is no more true."""
        self.description.unlink(missing_ok=True)
        self.environment.unlink(missing_ok=True)

    def let_go(self) -> None:
        """Let another stack have it."""
        os.close(self._lock)


def _exports(addresses: Addresses) -> str:
    """Lines for a shell, after which the commands of `bksi` are found and work on this stack."""
    variables = {
        "BKSI_URL": addresses.http,
        "BKSI_REDIS_URL": addresses.redis,
        "BKSI_BROKER_URL": addresses.broker,
        "BKSI_POSTGRES_DSN": addresses.postgres,
        "BKSI_FLOWER_URL": addresses.flower,
    }
    path = f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"\n'
    return path + "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())


def _lock(path: Path) -> int:
    """An open file descriptor that holds the lock on `path`, which also names its owner's pid."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    for _ in range(300):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(handle, 20, 0).decode()
            if owner and _runs(int(owner)):
                os.close(handle)
                raise DirectoryUnusable(f"process {owner} runs a stack in {path.parent}") from None
            # Its owner was killed; the guard is still ending what it left.
            time.sleep(0.05)
        else:
            os.truncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
            return handle
    os.close(handle)
    raise DirectoryUnusable(f"the lock of {path.parent} is not let go")


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _write_atomically(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_text(text)
    shutil.move(fresh, path)
