"""The live system that is hit: servers, a TCP relay before each, and workers and shims that are started again."""

import shutil
import signal
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from chaos.cmdb.node import HOLD_S, CmdbNode
from chaos.nursery import Child, Nursery
from chaos.power import NoCompiler, PowerlessValkey, build
from chaos.proxy import FaultProxy
from chaos.switchover import change_places, follow
from devstack import sample
from devstack.ports import free_port
from devstack.process import Guard, ProcessFailed
from devstack.servers import Postgres, Valkey

_SHIMS: Final = 2
_LOOK_S: Final = 0.05
_READY_S: Final = 60.0


@dataclass(eq=False)
class Part:
    """A process that is started again whenever it has ended. `armed`: failpoints of its next start."""

    name: str
    command: str
    environment: Mapping[str, str]
    log: Path
    child: Child
    armed: str = ""
    since: float = 0.0
    log_start: int = 0
    expected: bool = False
    """Whether somebody here has just ended it on purpose."""

    @property
    def is_ready(self) -> bool:
        """Whether this start of it takes work. A shim does not say so; it is given a second."""
        if self.child.ended.is_set():
            return False
        if self.command == "worker":
            with self.log.open("rb") as log:
                log.seek(self.log_start)
                return b" ready." in log.read()
        return time.monotonic() - self.since > 1.0


@dataclass
class Ends:
    """How often a part ended: by a kill of ours, at a failpoint, or by itself."""

    kills: int = 0
    by_itself: dict[str, int] = field(default_factory=dict)
    """Part and exit code → how often. A watchdog that has had enough exits with 70."""


class Site:
    """Use as a context manager. Once entered everything runs, and `supervise` must be run in a thread of its own.

    Args:
        directory: data and logs; made when missing.
        workers: how many worker processes.
        appendfsync: Redis' setting.
        cmdb_seed: of the failures of a CMDB that everything is delivered to; None = there is none.
    """

    def __init__(
        self,
        directory: Path,
        *,
        workers: int = 2,
        appendfsync: str = "always",
        cmdb_seed: int | None = None,
    ) -> None:
        self.directory = directory.absolute()
        self.ends = Ends()
        self.parts: list[Part] = []
        self.valkey: Valkey
        """The Redis that is the primary now; another one takes its place."""
        self.before_redis: FaultProxy
        self._spare: Valkey
        self.cmdb: CmdbNode | None = None
        self.loses_power = True
        """Whether a kill of Redis drops what it has not synced; without a C compiler it is a plain SIGKILL."""
        self._counts = {"worker": workers, "serve": _SHIMS}
        self._appendfsync = appendfsync
        self._cmdb_seed = cmdb_seed
        self._stack = ExitStack()
        self._lock = threading.Lock()
        self._over = threading.Event()

    def __enter__(self) -> Self:
        """Start everything.

        Raises:
            ProcessFailed: a part did not come up.
        """
        with ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        """End everything."""
        self.stop_supervising()
        with self._lock:
            self._stack.close()

    @property
    def workers(self) -> list[Part]:
        """The worker processes."""
        return [part for part in self.parts if part.command == "worker"]

    @property
    def shims(self) -> list[Part]:
        """The HTTP servers."""
        return [part for part in self.parts if part.command == "serve"]

    @property
    def urls(self) -> list[str]:
        """Where the shims answer."""
        return [f"http://127.0.0.1:{shim.environment['BKSI_HTTP_PORT']}" for shim in self.shims]

    def broker(self, user: str) -> str:
        """Redis through the relay, as callers (`sender`) and parts (`bksi`) see it."""
        return self.valkey.url_of(user).replace(f":{self.valkey.port}/", f":{self.before_redis.port}/")

    def move_redis(self, linger_s: float) -> None:
        """Start a replica, and have it and the primary change places; the old one goes on as a replica for a while.

        Raises:
            ProcessFailed: the replica did not come up, or did not catch up.
        """
        old, new = self.valkey, self._spare
        shutil.rmtree(new.data, ignore_errors=True)
        new.start()
        follow(new, old)
        change_places(old, new, lambda: self.before_redis.move(new.port or 0))
        self.valkey, self._spare = new, old
        self._over.wait(linger_s)
        old.stop()

    def supervise(self) -> None:
        """Start again what has ended, until `stop_supervising`."""
        while not self._over.wait(_LOOK_S):
            with self._lock:
                if self._over.is_set():
                    return
                for part in self.parts:
                    if part.child.ended.is_set():
                        self._count(part)
                        self._respawn(part)

    def stop_supervising(self) -> None:
        """From now on what has ended stays so."""
        self._over.set()

    def kill(self, part: Part) -> None:
        """SIGKILL, and wait for its end."""
        with self._lock:
            part.expected = True
            part.child.kill()

    def wait_ready(self, part: Part, seconds: float = _READY_S) -> bool:
        """Wait until a part takes work; whether it does."""
        give_up_at = time.monotonic() + seconds
        while not part.is_ready:
            if time.monotonic() > give_up_at or self._over.is_set():
                return False
            time.sleep(_LOOK_S)
        return True

    def _start(self, stack: ExitStack) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        guard = stack.enter_context(Guard())
        self.postgres = stack.enter_context(Postgres(self.directory / "postgres", guard))
        self.valkey = stack.enter_context(self._valkey(guard, "redis"))
        self._spare = self._valkey(guard, "redis-2", password=self.valkey.password)
        stack.callback(self._spare.stop)
        self.before_redis, self.before_postgres = (
            stack.enter_context(FaultProxy(server.port or 0)) for server in (self.valkey, self.postgres)
        )
        if self._cmdb_seed is not None:
            node = CmdbNode(self.directory / "cmdb", guard, log=self._log("cmdb"), seed=self._cmdb_seed)
            self.cmdb = stack.enter_context(node)
        self._nursery = stack.enter_context(Nursery(guard))
        migrated = {"BKSI_POSTGRES_DSN": self.postgres.url}
        self._finish("migrate", environment=migrated)
        self._finish("catalogue", "import", *map(str, sample.CATALOGUE), environment=migrated)
        for command, count in self._counts.items():
            for number in range(1, count + 1):
                self.parts.append(self._part(command, number))
        for part in self.parts:
            if not self.wait_ready(part):
                raise ProcessFailed(f"{part.name} did not start\n{part.child.tail()}")

    def _valkey(self, guard: Guard, name: str, password: str = "") -> Valkey:
        directory = self.directory / name
        directory.mkdir(exist_ok=True)
        if password:
            (directory / "password").write_text(password)
        try:
            library = build(directory)
        except NoCompiler:
            self.loses_power = False
            return Valkey(directory, guard, settings={"appendfsync": self._appendfsync}, has_users=True)
        return PowerlessValkey(directory, guard, library, appendfsync=self._appendfsync, has_users=True)

    def _finish(self, *command: str, environment: Mapping[str, str]) -> None:
        child = self._nursery.spawn(*command, environment=environment, log=self._log(command[0]))
        if child.wait(_READY_S):
            raise ProcessFailed(f"{command[0]} failed\n{child.tail()}")

    def _part(self, command: str, number: int) -> Part:
        postgres = self.postgres.url.replace(f":{self.postgres.port}/", f":{self.before_postgres.port}/")
        environment = {"BKSI_REDIS_URL": self.broker("bksi"), "BKSI_LOG_FORMAT": "console"}
        if command == "worker":
            environment["BKSI_POSTGRES_DSN"] = postgres
            environment |= _beside(self.cmdb)
        else:
            environment["BKSI_HTTP_PORT"] = str(free_port())
        name = f"{'worker' if command == 'worker' else 'shim'}-{number}"
        child = self._nursery.spawn(command, environment=environment, log=self._log(name))
        return Part(name, command, environment, self._log(name), child, since=time.monotonic())

    def _respawn(self, part: Part) -> None:
        environment = dict(part.environment) | {"BKSI_FAILPOINTS": part.armed}
        part.armed, part.expected = "", False
        part.log_start = part.log.stat().st_size
        part.child = self._nursery.spawn(part.command, environment=environment, log=part.log)
        part.since = time.monotonic()

    def _count(self, part: Part) -> None:
        if part.expected or part.child.returncode == -signal.SIGKILL:
            self.ends.kills += 1
        else:
            end = f"{part.name} {part.child.returncode}"
            self.ends.by_itself[end] = self.ends.by_itself.get(end, 0) + 1

    def _log(self, name: str) -> Path:
        logs = self.directory / "logs"
        logs.mkdir(exist_ok=True)
        return logs / f"{name}.log"


def _beside(cmdb: CmdbNode | None) -> dict[str, str]:
    """What workers need to know of it. Ids here and there must not be taken for each other."""
    if cmdb is None:
        return {}
    return {"BKSI_CMDB_URL": cmdb.url, "BKSI_CMDB_SETTLE_S": str(4 * HOLD_S), "BKSI_FIRST_ID": str(10**12)}
