"""The whole system on one machine: two servers, then workers, the shim and Flower, each a process of its own."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

import httpx2

from contract.redis.connection import RedisError, connect
from contract.redis.durability import APPEND_ONLY, Durability, examine_durability
from contract.settings import Settings, read_settings
from devstack import sample
from devstack.data_directory import Addresses, DataDirectory
from devstack.ports import free_port, is_free
from devstack.process import Guard, Process, ProcessFailed
from devstack.server import Server
from devstack.servers import Postgres, Valkey
from plumbing.urls import without_secrets

LOG_BYTES = 20_000_000
"""Of one log, before it is begun anew; the one before is kept as ``.1``."""
READY_TIMEOUT_S = 120.0
"""How long one part may take to become ready. Python starts slowly on a busy machine."""


class Stopped(BaseException):
    """Somebody asked the stack to stop while it was starting."""


class Stack:
    """Start, watch and stop the system. Use it as a context manager: leaving it leaves no process behind.

    Args:
        directory: data, logs and ``stack.json``; made when missing, kept afterwards.
        port: of 127.0.0.1 for the shim; 0 takes a free one.
        postgres: libpq URL of a server that runs already, instead of an embedded one. It is migrated, and the sample
            catalogue stays out of it.
        redis: URL of a server that runs already, instead of an embedded one.
        workers: how many worker processes.
        cmdb: URL of a live CMDB to keep up with.
        businesses: of that CMDB, to pull.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int = 0,
        postgres: str | None = None,
        redis: str | None = None,
        workers: int = 1,
        cmdb: str | None = None,
        businesses: Sequence[int] = (),
    ) -> None:
        self.data = DataDirectory(directory)
        self.stopping = threading.Event()
        """Set it, from a signal handler for example, to have the stack stop."""
        self.warnings: list[str] = []
        """What is to be said of servers that were given, once it has started."""
        self._port = port
        self._postgres = postgres
        self._redis = redis
        self._workers = workers
        self._cmdb = cmdb
        self._businesses = businesses
        self._servers: list[Server] = []
        self._parts: dict[str, Process] = {}
        self._guard: Guard | None = None

    def __enter__(self) -> Self:
        """Take the directory for this stack alone.

        Raises:
            DirectoryUnusable: another stack has it, or it cannot be written to.
        """
        # The guard holds the lock as well: nobody starts here before it has ended what a killed stack left.
        self._guard = Guard(self.data.take())
        return self

    def __exit__(self, *exc: object) -> None:
        """Stop every process."""
        self.data.forget()
        for part in self._parts.values():
            part.ask_to_stop()
        for part in self._parts.values():
            part.stop()
        for server in reversed(self._servers):
            server.stop()
        if self._guard:
            self._guard.close()
        self.data.let_go()

    def start(self) -> Addresses:
        """Start everything, in order, and wait until a request would be answered.

        Raises:
            ProcessFailed: a part did not come up; its name and the tail of its log are in the text.
            SettingsInvalid: a given URL, or a variable of the environment, cannot be used.
            Stopped: `stopping` was set meanwhile.
        """
        if self._port and not is_free(self._port):
            raise ProcessFailed(f"127.0.0.1:{self._port} is in use: choose another --port, or 0 for any that is free")
        postgres = self._postgres or self._serve(
            Postgres(self.data.path / "postgres", self.guard, log=self._log("postgres"))
        )
        redis = self._redis or self._serve(Valkey(self.data.path / "redis", self.guard, log=self._log("redis")))
        settings = read_settings(redis_url=redis, postgres_dsn=postgres, http_port=self._port or free_port())
        if self._redis and (durability := _require_redis(settings)).is_known_to_lose:
            self.warnings.append(f"--redis ({without_secrets(redis)}): {durability.value}. {APPEND_ONLY}")
        http, flower = f"http://127.0.0.1:{settings.http_port}", f"http://127.0.0.1:{(flower_port := free_port())}"
        shim_environment = _environment(
            BKSI_REDIS_URL=redis, BKSI_HTTP_HOST="127.0.0.1", BKSI_HTTP_PORT=str(settings.http_port)
        )
        worker_environment = _environment(
            BKSI_REDIS_URL=redis,
            BKSI_POSTGRES_DSN=postgres,
            BKSI_STATE_DIR=str(self.data.path / "state"),
            **({"BKSI_CMDB_URL": self._cmdb} if self._cmdb else {}),
        )

        # Neither needs the database: they load while it is migrated.
        self._spawn("shim", _bksi("serve"), shim_environment)
        self._spawn(
            "flower",
            _bksi("flower", "--port", str(flower_port)),
            _environment(
                BKSI_REDIS_URL=redis, FLOWER_DB=str(self.data.path / "flower"), FLOWER_UNAUTHENTICATED_API="1"
            ),
        )
        self._finish("migrate", _bksi("migrate"), worker_environment)
        if self._postgres is None and self._cmdb is None:
            self._finish("catalogue", _bksi("catalogue", "import", *map(str, sample.CATALOGUE)), worker_environment)
        if self._cmdb:
            self._follow_cmdb(worker_environment)
        metrics = [f"{http}/metrics"]
        for number in range(1, self._workers + 1):
            # Named by its number, it is the same worker to Flower when the stack has been started again.
            name = "worker" if number == 1 else f"worker-{number}"
            port = free_port() if settings.metrics_port is None else settings.metrics_port + number - 1
            metrics.append(f"http://127.0.0.1:{port}/metrics")
            environment = {**worker_environment, "BKSI_METRICS_PORT": str(port)}
            self._spawn(name, _bksi("worker", "--name", f"worker-{number}"), environment)

        # One client, since each reads all the authorities that this machine trusts, which takes longer than any answer.
        with httpx2.Client(timeout=5) as client:
            self._wait_for("shim", lambda: _answers(client, f"{http}/readyz"))
            self._wait_for("flower", lambda: _alive_workers(client, flower) >= self._workers)
        pids = {server.name: server.pid for server in self._servers} | {
            name: part.pid for name, part in self._parts.items()
        }
        addresses = Addresses(http, flower, settings.broker, redis, postgres, metrics, pids)
        self.data.tell(addresses)
        return addresses

    def _follow_cmdb(self, environment: Mapping[str, str]) -> None:
        """Pull, and go on pulling. A worker that began before the first round would create again what CMDB has."""
        businesses = [argument for id_ in self._businesses for argument in ("--biz", str(id_))]
        self._spawn("watch", _bksi("catalogue", "watch", "--instances", *businesses), environment)
        # Each business has a line, also one that could not be pulled: CMDB may be away, and the system works without.
        self._wait_for("watch", lambda: self._parts["watch"].tail(1000).count("pulled") >= len(self._businesses))

    def watch(self) -> None:
        """Return when `stopping` is set.

        Raises:
            ProcessFailed: a part ended by itself.
        """
        while not self.stopping.wait(0.2):
            self._check_parts()
            for process in self._processes():
                process.rotate(LOG_BYTES)

    def tail(self, name: str) -> str:
        """The last lines that a part logged."""
        return self._parts[name].tail()

    @property
    def guard(self) -> Guard:
        """Who ends the processes should this one be killed."""
        if self._guard is None:
            raise RuntimeError("use the stack as a context manager")
        return self._guard

    def _log(self, name: str) -> Path:
        return self.data.path / "logs" / f"{name}.log"

    def _serve(self, server: Server) -> str:
        self._servers.append(server)
        server.start()
        return server.url

    def _spawn(self, name: str, argv: list[str], environment: Mapping[str, str]) -> None:
        self._parts[name] = Process(name, argv, log=self._log(name), guard=self.guard, env=environment)

    def _finish(self, name: str, argv: list[str], environment: Mapping[str, str]) -> None:
        """Run a part that does its work and ends."""
        self._spawn(name, argv, environment)
        part = self._parts.pop(name)
        with part:
            while part.returncode is None:
                self._check()
                time.sleep(0.02)
            if part.returncode:
                raise ProcessFailed(part.obituary())

    def _wait_for(self, name: str, ready: Callable[[], bool]) -> None:
        def ready_or_over() -> bool:
            self._check()
            return ready()

        self._parts[name].wait_until(ready_or_over, timeout_s=READY_TIMEOUT_S, every_s=0.2)

    def _check(self) -> None:
        if self.stopping.is_set():
            raise Stopped
        self._check_parts()

    def _check_parts(self) -> None:
        if not self.guard.running:
            raise ProcessFailed("the guard process was killed")
        for process in self._processes():
            if process.returncode is not None:
                raise ProcessFailed(process.obituary())

    def _processes(self) -> list[Process]:
        """Servers and parts that were started."""
        servers = [server.process for server in self._servers]
        return [process for process in (*servers, *self._parts.values()) if process is not None]


def _bksi(*command: str) -> list[str]:
    return [str(Path(sys.executable).with_name("bksi")), *command]


def _environment(**variables: str) -> dict[str, str]:
    """The caller's environment, so that ``BKSI_*`` settings reach the parts, under what the stack itself decides."""
    ours = ("BKSI_POSTGRES_DSN", "CELERY_", "FLOWER_", "PYTHONPATH")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | variables


def _require_redis(settings: Settings) -> Durability:
    """Say at once that a server that was given does not answer: the parts would wait for it."""

    async def ask() -> Durability:
        async with connect(settings, connections=1) as redis:
            await redis.ping()
            return await examine_durability(redis)

    try:
        return asyncio.run(ask())
    except RedisError as error:
        raise ProcessFailed(f"--redis ({without_secrets(settings.redis_url)}): {error}") from None


def _answers(client: httpx2.Client, url: str) -> bool:
    try:
        return client.get(url).is_success
    except httpx2.HTTPError:
        return False


def _alive_workers(client: httpx2.Client, flower: str) -> int:
    """How many workers Flower has heard of; only from then on does it see their tasks."""
    try:
        answer = client.get(f"{flower}/workers?json=1")
        return sum(bool(worker.get("status")) for worker in answer.json()["data"])
    except (httpx2.HTTPError, ValueError):
        return 0
