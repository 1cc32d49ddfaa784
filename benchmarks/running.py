"""One system that runs: its worker processes and its client, started together and stopped together."""

import json
import select
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Self

from benchmarks import measure
from benchmarks.client import Failed
from benchmarks.peers import PEERS
from benchmarks.session import ROOT, Session
from benchmarks.shapes import Shape
from devstack.process import Process

IN_FLIGHT = {1: 64}
"""By instances in a request: how many the client has open at once; 16 for everything larger."""


class Running:
    """A system under measurement. Use it as a context manager."""

    def __init__(
        self,
        name: str,
        session: Session,
        environment: Mapping[str, str] | None = None,
        *,
        with_workers: bool = True,
        workers: int | None = None,
    ) -> None:
        self.name = name
        self.peer = PEERS[name]
        self._session = session
        self._environment = session.environment(self.peer.redis) | dict(self.peer.environment) | dict(environment or {})
        self._with_workers = with_workers
        self._commands = self.peer.workers[:workers]
        self.workers: list[Process] = []

    def __enter__(self) -> Self:
        """Start its workers and its client, against empty servers."""
        self._session.flush(self.peer.redis)
        self._session.empty()
        if self._with_workers:
            self.start_workers()
        self._client = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.client", self.peer.module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=self._environment,
        )
        return self

    def start_workers(self) -> None:
        """Start the worker processes; the first request finds out when they are ready."""
        for number, argv in enumerate(self._commands):
            log = self._session.directory / "logs" / f"{self.name}-{number}.log"
            command = [part.format(http_port=self._session.http_port) for part in argv]
            self.workers.append(Process(self.name, command, log=log, guard=self._session.guard, env=self._environment))

    def check_workers(self) -> None:
        """Raise `Failed` when a worker has ended."""
        for worker in self.workers:
            if worker.returncode is not None:
                raise Failed(worker.obituary())

    def __exit__(self, *exc: object) -> None:
        """Stop them."""
        if exc[0]:
            self._client.terminate()
        self._client.communicate()
        for worker in self.workers:
            worker.ask_to_stop()
        for worker in self.workers:
            worker.stop()

    @property
    def modules(self) -> int:
        """How many modules the catalogue has."""
        return self._session.modules

    @property
    def worker_pids(self) -> list[int]:
        """The roots of the workers' process trees."""
        return [worker.pid for worker in self.workers]

    def tell(self, do: str, shape: Shape, count: int, *, first: int = 0, **more: Any) -> dict[str, Any]:
        """Have the client carry out a command; what it answers.

        Raises:
            Failed: a request did not end well, or the client died. The text ends with the workers' logs.
        """
        return self._tell(
            {
                "do": do,
                "shape": str(shape),
                "modules": self.modules,
                "first": first,
                "count": count,
                "in_flight": IN_FLIGHT.get(shape.instances, 16),
                **more,
            }
        )

    def _tell(self, command: dict[str, Any]) -> dict[str, Any]:
        stdin, stdout = self._client.stdin, self._client.stdout
        if stdin is None or stdout is None:  # pragma: no cover - always pipes
            raise Failed("the client has no pipes")
        stdin.write(json.dumps(command) + "\n")
        stdin.flush()
        while not select.select([stdout], [], [], 0.5)[0]:
            self.check_workers()
        answer: dict[str, Any] = json.loads(stdout.readline() or '{"failed": "the client died"}')
        if "failed" in answer:
            logs = "\n".join(worker.tail() for worker in self.workers)
            raise Failed(f"{self.name}, {command.get('shape', 'mixed')}: {answer['failed']}\n{logs}")
        return answer

    def warm_up(self, shape: Shape, count: int) -> None:
        """Run a few requests, of hosts that no measured request names, and forget what they wrote."""
        capacity = self.modules * (100 // shape.instances)
        self.tell("burst", shape, count, first=capacity - count)
        self._session.empty()

    def burst(self, shape: Shape, count: int) -> dict[str, float]:
        """Throughput and cost of `count` requests that are all there at once.

        Raises:
            Failed: not every row is stored.
        """
        measure.reset_peak_memory(self.worker_pids)
        servers = {"postgres": self._session.postgres.pid, "redis": self._session.redis(self.peer.redis).pid}
        before = {name: measure.cpu_seconds([pid]) for name, pid in servers.items()}
        worker_cpu = measure.cpu_seconds(self.worker_pids)
        answer = self.tell("burst", shape, count)
        per_thousand = 1000 / count
        numbers = {
            "requests": count,
            "requests_per_s": count / answer["seconds"],
            "rows_per_s": count * shape.rows / answer["seconds"],
            "worker_cpu_s": (measure.cpu_seconds(self.worker_pids) - worker_cpu) * per_thousand,
            "client_cpu_s": answer["cpu_s"] * per_thousand,
            "peak_memory_mib": measure.peak_memory_mib(self.worker_pids),
        }
        for name, pid in servers.items():
            numbers[f"{name}_cpu_s"] = (measure.cpu_seconds([pid]) - before[name]) * per_thousand
        self._check_rows(shape, count)
        return numbers

    def light_load(self, shape: Shape, rate: float, count: int) -> dict[str, float]:
        """Latency of requests that come one by one, `rate` a second."""
        latencies = self.tell("pace", shape, count, rate=rate)["latencies_ms"]
        self._check_rows(shape, count)
        return {"p50_ms": measure.percentile(latencies, 50), "p99_ms": measure.percentile(latencies, 99)}

    def mix(self, parts: list[dict[str, Any]]) -> list[list[float]]:
        """Several paces at once: ``{"shape", "count", "rate"}`` each. The latencies in ms, one list for each."""
        answer = self._tell({"do": "mix", "modules": self.modules, "parts": parts})
        self._check(sum(Shape.parse(part["shape"]).rows * part["count"] for part in parts))
        latencies: list[list[float]] = answer["latencies_ms"]
        return latencies

    def _check_rows(self, shape: Shape, count: int) -> None:
        self._check(count * shape.rows)

    def _check(self, expected: int) -> None:
        stored = self._session.count_rows()
        if stored != expected:
            raise Failed(f"{self.name}: {stored} rows are stored, {expected} were asked for")
        self._session.empty()
