"""A job beside full batches and small requests: ``python -m benchmarks.jobs --instances 1000000``.

A `bksi up` of its own. First, and again at the end, as many instances as `--direct` by full batches of a hundred, as
many at once as a job may have unfinished; between them the job, by `bksi_client`, streamed, with `--beside` small
requests a second. Each instance has one process with one bind row. What all of it costs each process, Redis and
PostgreSQL is told with it.
"""

import argparse
import asyncio
import itertools
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson
import redis

from benchmarks import measure, report
from benchmarks.client import Failed
from benchmarks.http import HttpClient
from bksi_client import Client
from bksi_client.types import Instance, ProcessInfo
from contract.settings import Settings
from devstack.running import RunningStack
from devstack.sql import fetch

BIZ, MODULE = 1, 61
HEAD: Final = {"bk_biz_id": BIZ, "bk_module_id": MODULE}
HOSTS: Final = 200
SETTINGS: Final = {"BKSI_LOG_LEVEL": "WARNING"}
_WORKERS: Final = 2


def instances(name: str, first: int, count: int) -> Iterator[Instance]:
    """So many that nobody else asks for, on the hosts of the sample."""
    for number in range(first, first + count):
        info: ProcessInfo = {
            "bk_process_name": "service",
            "bk_func_name": "service",
            "start_cmd": "./bin/start.sh --config etc/service.toml --daemon",
            "bind_info": [{"template_row_id": 1, "ip": "127.0.0.1", "port": "8000", "protocol": "1", "enable": True}],
        }
        yield {
            "bk_host_id": 2 + number % HOSTS,
            "service_instance_name": f"{name}-{number}",
            "processes": [{"process_template_id": 0, "process_info": info}],
        }


async def directly(port: int, name: str, count: int) -> float:
    """Instances a second, by full batches, as many at once as a job may have unfinished."""
    slots = asyncio.Semaphore(Settings().max_job_batches)
    bodies = [orjson.dumps(HEAD | {"instances": list(instances(name, first, 100))}) for first in range(0, count, 100)]
    async with HttpClient(port) as http:

        async def send(body: bytes) -> None:
            async with slots:
                await ended(http, body)

        began = time.perf_counter()
        await asyncio.gather(*map(send, bodies))
        return count / (time.perf_counter() - began)


async def ended(http: HttpClient, body: bytes) -> None:
    """Submit and wait for success."""
    _, answer = await http.post("/v1/batches", body, {"Prefer": "wait=20"})
    said = orjson.loads(answer)
    while said["status"] in ("PENDING", "RUNNING"):
        path = f"/v1/batches/{said['request_id']}"
        said = orjson.loads((await http.request("GET", path, headers={"Prefer": "wait=20"}))[1])
    if not said["result"]:
        raise Failed(f"{said['code']}: {said['message']}")


async def small_ones(port: int, rate: float, is_over: threading.Event) -> list[float]:
    """Milliseconds of each of `rate` small requests a second, until it is over."""
    took: list[float] = []

    async with HttpClient(port) as http:

        async def send(number: int) -> None:
            began = time.perf_counter()
            await ended(http, orjson.dumps(HEAD | {"instances": list(instances("beside", number, 1))}))
            took.append((time.perf_counter() - began) * 1000)

        async with asyncio.TaskGroup() as group:
            for number in itertools.count():
                if is_over.is_set():
                    break
                group.create_task(send(number))
                await asyncio.sleep(1 / rate)
    return took


def job(http: str, count: int) -> dict[str, Any]:
    """Stream it, follow it, and say what it took."""
    with Client(http, patience_s=600) as client:
        began = time.perf_counter()
        submitted = client.jobs.submit(
            {"bk_biz_id": BIZ, "bk_module_id": MODULE, "instances": instances("job", 0, count)}, "benchmark"
        )
        accepted_s = time.perf_counter() - began
        polls = [len(client.request("GET", f"/v1/jobs/{submitted.id}").content)]
        final = submitted.wait(3600)
        seconds = time.perf_counter() - began
        polls.append(len(client.request("GET", f"/v1/jobs/{submitted.id}").content))
    if not final["result"] or final["statistics"]["success_count"] != count:
        raise Failed(f"{final['code']}: {final['message']}")
    return {
        "seconds": seconds,
        "accepted_s": accepted_s,
        "instances_per_s": count / seconds,
        "poll_bytes": max(polls),
    }


class Costs:
    """What a stack's processes and servers have used since it was made."""

    def __init__(self, stack: RunningStack) -> None:
        self._stack = stack
        measure.reset_peak_memory(stack.pids.values())
        self._before = self._look()
        self._mib = {name: measure.memory_mib([pid]) for name, pid in stack.pids.items()}
        self._wal, self._disk = asyncio.run(_stored(stack.postgres))

    def so_far(self) -> dict[str, Any]:
        """CPU seconds and peak MiB by process, bytes of Redis, of PostgreSQL's log and of its tables."""
        wal, disk = asyncio.run(_stored(self._stack.postgres))
        with redis.Redis.from_url(self._stack.redis) as client:
            kept = client.info("memory")["used_memory"]
            written = client.info("persistence")["aof_current_size"]
        cpu = {name: seconds - self._before[name] for name, seconds in self._look().items()}
        return {
            "cpu_s": cpu,
            "mib_before": self._mib,
            "peak_mib": {name: measure.peak_memory_mib([pid]) for name, pid in self._stack.pids.items()},
            "redis_bytes": kept,
            "redis_log_bytes": written,
            "wal_bytes": wal - self._wal,
            "disk_bytes": disk - self._disk,
        }

    def _look(self) -> dict[str, float]:
        return {name: measure.cpu_seconds([pid]) for name, pid in self._stack.pids.items()}


async def _stored(dsn: str) -> tuple[int, int]:
    asked = "SELECT (pg_current_wal_lsn() - '0/0')::bigint, pg_database_size(current_database())"
    [(wal, disk)] = await fetch(dsn, asked)
    return wal, disk


def run(directory: Path, options: argparse.Namespace) -> dict[str, Any]:
    """All of it, in one stack."""
    with RunningStack.start(directory, "--workers", str(_WORKERS), env=SETTINGS) as stack:
        port = int(stack.http.rpartition(":")[2])
        asyncio.run(directly(port, "warm-up", 2_000))
        before = asyncio.run(directly(port, "before", options.direct))
        costs, is_over = Costs(stack), threading.Event()
        beside: list[float] = []
        small = threading.Thread(target=lambda: beside.extend(asyncio.run(small_ones(port, options.beside, is_over))))
        measure.reset_peak_memory([os.getpid()])
        own, _ = measure.own_memory_mib()
        small.start()
        try:
            found = job(stack.http, options.instances)
        finally:
            is_over.set()
            small.join()
        found |= costs.so_far() | {"client_mib": own, "client_peak_mib": measure.own_memory_mib()[1]}
        after = asyncio.run(directly(port, "after", options.direct))
    direct = (before + after) / 2
    found |= {"direct_instances_per_s": direct, "share_of_direct": found["instances_per_s"] / direct}
    found |= {f"beside_p{percent}_ms": measure.percentile(beside, percent) for percent in (50, 99)}
    return found | {"beside": len(beside), "beside_p99/p50": found["beside_p99_ms"] / found["beside_p50_ms"]}


def show(found: Mapping[str, Any]) -> None:
    """Print it, a number a line."""
    for name, value in found.items():
        numbers = value.items() if isinstance(value, dict) else [("", value)]
        for part, number in numbers:
            print(f"{name} {part}".ljust(32), f"{number:,.2f}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.jobs", description=__doc__)
    parser.add_argument("--instances", type=int, default=1_000_000)
    parser.add_argument("--direct", type=int, default=30_000, help="instances by full batches, before and after")
    parser.add_argument("--beside", type=float, default=5.0, help="small requests a second beside the job")
    parser.add_argument("--out")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="bksi-bench-") as directory:
        found = {"instances": options.instances} | run(Path(directory), options)
    show(found)
    report.keep(found, options.out, "jobs")


if __name__ == "__main__":
    main()
