"""What a thousand reads a second cost those who submit: ``python -m benchmarks.reads``.

One `bksi serve`, two workers and one `bksi read`, on tables that hold a hundred thousand instances. Small requests are
submitted over HTTP as fast as they are accepted, and the workers have all they can do. In every other round `bksi read`
is asked for details a thousand times a second as well.

On a machine with two cores everything stands in everybody's way. ``--apart`` gives those who read (`bksi read`, a
replica of PostgreSQL, its callers) the second core and further ones, and all else the first: as on two machines.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import asyncpg
import uvloop

from benchmarks import measure, report
from benchmarks.client import Failed
from benchmarks.growth import fill
from benchmarks.http import HttpClient
from benchmarks.session import ROOT, Session, open_session
from benchmarks.shapes import Shape
from devstack.ports import free_port
from devstack.process import Process
from devstack.replica import copy, follow
from devstack.servers import Postgres

SMALL: Final = Shape(1)
_IN_FLIGHT: Final = 32
_CORES_OF_READERS: Final = range(1, os.cpu_count() or 2)


def _start(stack: ExitStack, session: Session, name: str, command: str, **environment: str) -> Process:
    argv = [str(Path(sys.executable).with_name("bksi")), command]
    log = session.directory / "logs" / f"{name}.log"
    env = session.environment("durable") | environment
    return stack.enter_context(Process(name, argv, log=log, guard=session.guard, env=env))


def _pin(pids: Iterable[int], cores: Sequence[int]) -> None:
    """All their threads, and what they have started and will start."""
    for process in measure.tree(pids):
        for thread in process.threads():
            os.sched_setaffinity(thread.id, cores)


def _replica(stack: ExitStack, session: Session) -> Postgres:
    standby = copy(session.postgres, session.directory / "replica", session.guard)
    follow(standby, session.postgres)
    return stack.enter_context(standby)


class _Submits:
    """Submits one small request after the other; every one names another instance."""

    def __init__(self, http: HttpClient, modules: int) -> None:
        self._http = http
        self._modules = modules
        self._number = 0

    async def round(self, seconds: float) -> dict[str, float]:
        """For so long, and what came of it."""
        took: list[float] = []
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(_IN_FLIGHT):
                group.create_task(self._submit_until(began + seconds, took))
        rate = len(took) / (time.perf_counter() - began)
        return {"submits_per_s": rate, "submit_p50_ms": measure.percentile(took, 50)} | {
            "submit_p99_ms": measure.percentile(took, 99)
        }

    async def _submit_until(self, over_at: float, took: list[float]) -> None:
        while (began := time.perf_counter()) < over_at:
            body = SMALL.body(self._number, self._modules)
            self._number += 1
            status, answer = await self._http.post("/v1/batches", body)
            if status != 202:
                raise Failed(f"HTTP {status}: {answer[:500]!r}")
            took.append((time.perf_counter() - began) * 1000)


async def _reads(port: int, instances: int, options: argparse.Namespace) -> dict[str, float]:
    arguments = (str(port), str(options.reads), str(options.seconds), str(instances))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.read_caller", *arguments),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    if options.apart:
        _pin([process.pid], _CORES_OF_READERS)
    said, _ = await process.communicate()
    if process.returncode:
        raise Failed("the reading callers ended")
    found: dict[str, float] = json.loads(said)
    return {f"read_{name}" if name.endswith("_ms") else name: value for name, value in found.items()}


async def _measure(session: Session, read_port: int, instances: int, options: argparse.Namespace) -> list[Any]:
    database = await asyncpg.connect(session.postgres.url)
    async with HttpClient(session.http_port) as http, HttpClient(read_port) as reader:
        await http.wait_until_up()
        await reader.wait_until_up()
        submits, rounds = _Submits(http, session.modules), []
        await submits.round(3)
        for number in range(2 * options.rounds):
            before = await database.fetchval("SELECT count(*) FROM request_ledger")
            tasks = [submits.round(options.seconds)]
            tasks += [_reads(read_port, instances, options)] if number % 2 else []
            found: dict[str, Any] = {"reads": bool(number % 2)}
            for part in await asyncio.gather(*tasks):
                found |= part
            after = await database.fetchval("SELECT count(*) FROM request_ledger")
            rounds.append(found | {"ended_per_s": (after - before) / options.seconds})
            print(rounds[-1], file=sys.stderr)
    await database.close()
    return rounds


def _summary(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The medians without and with reads, and how much less is submitted with them."""
    medians = {
        name: {key: _median(one[key] for one in some) for key in some[0] if key != "reads"}
        for name, some in (
            ("without reads", [one for one in rounds if not one["reads"]]),
            ("with reads", [one for one in rounds if one["reads"]]),
        )
    }
    ratio = medians["with reads"]["submits_per_s"] / medians["without reads"]["submits_per_s"]
    return medians | {"submits_slowed_percent": round(100 * (1 - ratio), 1)}


def _median(values: Iterable[float]) -> float:
    return round(measure.median_and_range(list(values))[0], 2)


def main(arguments: Sequence[str] | None = None) -> None:
    """Fill, start, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reads", description=__doc__)
    parser.add_argument("--reads", type=float, default=1000, help="a second")
    parser.add_argument("--seconds", type=float, default=10.0, help="of one round")
    parser.add_argument("--rounds", type=int, default=3, help="of each kind")
    parser.add_argument("--instances", type=int, default=100_000, help="in the tables")
    parser.add_argument("--modules", type=int, default=1500, help="for the instances that are submitted")
    parser.add_argument("--apart", action="store_true", help="a replica, and cores of their own, for those who read")
    parser.add_argument("--out")
    options = parser.parse_args(arguments)
    with open_session([SMALL], options.modules, autovacuum=True) as session, ExitStack() as stack:
        instances = asyncio.run(fill(session.postgres.url, 4 * options.instances))
        shim = _start(stack, session, "shim", "serve", BKSI_HTTP_PORT=str(session.http_port))
        read_port = free_port()
        read = _replica(stack, session) if options.apart else session.postgres
        reading = {"BKSI_READ_DSN": read.url, "BKSI_READ_PORT": str(read_port)}
        reader = _start(stack, session, "reader", "read", **reading)
        workers = [_start(stack, session, f"worker-{number}", "worker") for number in (1, 2)]
        if options.apart:
            writing = [shim.pid, *(worker.pid for worker in workers)]
            _pin([os.getpid(), session.postgres.pid, session.durable_redis.pid, *writing], [0])
            _pin([read.pid, reader.pid], _CORES_OF_READERS)
        rounds = uvloop.run(_measure(session, read_port, instances, options))
    found = _summary(rounds)
    for name, numbers in found.items():
        print(f"{name:22} {numbers}")
    report.keep(found | {"apart": options.apart, "rounds": rounds}, options.out, "reads")


if __name__ == "__main__":
    main()
