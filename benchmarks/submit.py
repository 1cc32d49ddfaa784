"""The submit side: one ``bksi serve`` process, no worker (``python -m benchmarks.submit``).

Small and full requests over HTTP, each accepted with 202 and so in Redis; then a thousand open long polls, and what
they cost Redis and the process.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import redis
import uvloop

from benchmarks import measure, report
from benchmarks.client import Failed
from benchmarks.http import HttpClient
from benchmarks.session import Session, open_session
from benchmarks.shapes import Shape
from devstack.process import Process

SMALL, FULL = Shape(1), Shape(100)
_PATH = "/v1/batches"


async def _post_all(http: HttpClient, bodies: Sequence[bytes], in_flight: int) -> list[str]:
    slots = asyncio.Semaphore(in_flight)

    async def post(body: bytes) -> str:
        async with slots:
            status, answer = await http.post(_PATH, body)
        if status != 202:
            raise Failed(f"HTTP {status}: {answer[:500]!r}")
        return str(orjson.loads(answer)["request_id"])

    return list(await asyncio.gather(*(post(body) for body in bodies)))


async def _throughput(http: HttpClient, pid: int, shape: Shape, count: int, session: Session) -> dict[str, Any]:
    bodies = [shape.body(number, session.modules) for number in range(count)]
    await _post_all(http, bodies[: max(1, count // 10)], 16)
    shim, client, began = measure.cpu_seconds([pid]), time.process_time(), time.perf_counter()
    await _post_all(http, bodies, 64 if shape.instances == 1 else 16)
    seconds = time.perf_counter() - began
    return {
        "requests_per_s": count / seconds,
        "shim_cpu_s": (measure.cpu_seconds([pid]) - shim) * 1000 / count,
        "load_cpu_s": (time.process_time() - client) * 1000 / count,
    }


async def _long_polls(http: HttpClient, pid: int, session: Session, options: argparse.Namespace) -> dict[str, Any]:
    bodies = [SMALL.body(number, session.modules) for number in range(options.polls)]
    ids = await _post_all(http, bodies, 64)
    with redis.Redis.from_url(session.durable_redis.url) as client:
        idle = await _commands(client, options.seconds)
        before = measure.memory_mib([pid])
        polls = [
            asyncio.create_task(http.request("GET", f"{_PATH}/{id_}", headers={"Prefer": f"wait={options.wait}"}))
            for id_ in ids
        ]
        await asyncio.sleep(3)  # until all of them are open and have looked once
        busy = await _commands(client, options.seconds)
        memory = measure.memory_mib([pid]) - before
        open_ = sum(not poll.done() for poll in polls)
        answers = await asyncio.gather(*polls)
    if refused := [status for status, _ in answers if status != 200]:
        raise Failed(f"{len(refused)} of {len(answers)} long polls were answered {refused[0]}")
    return {
        "open_polls": open_,
        "redis_commands_per_s_without": idle,
        "redis_commands_per_s_with": busy,
        "shim_mib_more": memory,
    }


async def _commands(client: "redis.Redis", seconds: float) -> float:
    """Commands that Redis carries out in a second, this question not counted."""
    before = client.info("stats")["total_commands_processed"]
    await asyncio.sleep(seconds)
    return float(client.info("stats")["total_commands_processed"] - before - 1) / seconds


async def _measure(session: Session, pid: int, options: argparse.Namespace) -> dict[str, Any]:
    async with HttpClient(session.http_port) as http:
        await http.wait_until_up()
        return {
            "small": await _throughput(http, pid, SMALL, options.small, session),
            "full": await _throughput(http, pid, FULL, options.full, session),
            "long polls": await _long_polls(http, pid, session, options),
        }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.submit", description=__doc__)
    parser.add_argument("--small", type=int, default=10_000)
    parser.add_argument("--full", type=int, default=1_000)
    parser.add_argument("--polls", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=5.0, help="for which Redis' commands are counted")
    parser.add_argument("--wait", type=int, default=20, help="seconds that a long poll stays open")
    parser.add_argument("--out")
    options = parser.parse_args(arguments)
    if options.wait < options.seconds + 5:
        parser.error("--wait must be longer than --seconds and 5 more")
    modules = max(SMALL.modules_needed(max(options.small, options.polls)), options.full)
    with open_session([SMALL], 1) as started:
        # No worker reads the catalogue here: only the numbers of the requests need so many modules.
        session = started.with_modules(modules)
        environment = session.environment("durable") | {"BKSI_HTTP_PORT": str(session.http_port)}
        shim = [str(Path(sys.executable).with_name("bksi")), "serve"]
        log = session.directory / "logs" / "shim.log"
        with Process("shim", shim, log=log, guard=session.guard, env=environment) as process:
            found = uvloop.run(_measure(session, process.pid, options))
    for name, numbers in found.items():
        print(name, *(f"{key} {value:,.2f}" for key, value in numbers.items()), sep="   ")
    report.keep(found, options.out, "submit")


if __name__ == "__main__":
    main()
