"""The client of one system, in a process of its own: ``python -m benchmarks.client MODULE``.

It reads one JSON command a line from standard input and answers each with one line on standard output.

- ``{"do": "burst", "shape", "modules", "first", "count", "in_flight"}``: submit them all, at most `in_flight` at a
  time, and wait for all. A queue takes them ahead of its workers; a system that answers at once has `in_flight` open.
- ``{"do": "pace", …, "rate"}``: `count` requests, `rate` a second, whether or not earlier ones have ended.
- ``{"do": "enqueue", …, "in_flight"}``: submit `count` requests and wait for none.
- ``{"do": "mix", "modules", "parts": [{"shape", "count", "rate"}, …]}``: several paces at once. With ``backwards`` a
  part names the hosts of the last modules first.

The answer: ``seconds`` from the first submit to the last report, ``cpu_s`` of this process, ``latencies_ms`` of each
request (of a mix: one list for each part).
"""

import asyncio
import importlib
import json
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol

import uvloop

from benchmarks.shapes import HOSTS_PER_MODULE, Shape
from plumbing.collector import spare_the_collector

TIMEOUT_S: Final = 300.0
"""How long a request may take before the benchmark gives up."""


class Failed(Exception):
    """A request did not end well; the numbers of such a run mean nothing."""


class Client(Protocol):
    """What the modules in `benchmarks.peers` give."""

    async def submit(self, body: bytes) -> str:
        """Hand a request over; its id. A system without a queue returns when it is done."""

    async def wait(self, request_id: str) -> None:
        """Until its answer is stored where the caller can read it; raises `Failed` when it is not a success."""


async def _one(client: Client, body: Any, slots: asyncio.Semaphore) -> float:
    async with slots:
        began = time.perf_counter()
        request_id = await client.submit(body)
    await client.wait(request_id)
    return (time.perf_counter() - began) * 1000


async def _burst(client: Client, bodies: list[Any], command: dict[str, Any]) -> list[float]:
    slots = asyncio.Semaphore(command["in_flight"])
    return list(await asyncio.gather(*(_one(client, body, slots) for body in bodies)))


async def _pace(client: Client, bodies: list[Any], command: dict[str, Any]) -> list[float]:
    slots, began = asyncio.Semaphore(len(bodies)), time.perf_counter()
    running = []
    for number, body in enumerate(bodies):
        await asyncio.sleep(max(0.0, began + number / command["rate"] - time.perf_counter()))
        running.append(asyncio.create_task(_one(client, body, slots)))
    return list(await asyncio.gather(*running))


async def _enqueue(client: Client, bodies: list[Any], command: dict[str, Any]) -> list[float]:
    slots = asyncio.Semaphore(command["in_flight"])

    async def submit(body: Any) -> None:
        async with slots:
            await client.submit(body)

    await asyncio.gather(*(submit(body) for body in bodies))
    return []


_DO: Final[dict[str, Callable[[Client, list[Any], dict[str, Any]], Awaitable[list[float]]]]] = {
    "burst": _burst,
    "pace": _pace,
    "enqueue": _enqueue,
}


async def _mix(client: Client, command: dict[str, Any]) -> dict[str, Any]:
    modules, paces = command["modules"], []
    for part in command["parts"]:
        shape = Shape.parse(part["shape"])
        numbers = [_backwards(number, modules) if part.get("backwards") else number for number in range(part["count"])]
        paces.append(_pace(client, [shape.body(number, modules) for number in numbers], part))
    return {"latencies_ms": await asyncio.gather(*paces)}


def _backwards(number: int, modules: int) -> int:
    """The number of the request that names host ``number % 100`` of the module ``number // 100`` from the end."""
    module, host = modules - 1 - number // HOSTS_PER_MODULE, number % HOSTS_PER_MODULE
    return host * modules + module


async def run(client: Client, command: dict[str, Any]) -> dict[str, Any]:
    """Carry out one command."""
    if command["do"] == "mix":
        return await _mix(client, command)
    shape, first = Shape.parse(command["shape"]), command["first"]
    bodies: list[Any] = [shape.body(first + number, command["modules"]) for number in range(command["count"])]
    if prepare := getattr(client, "prepare", None):
        bodies = await prepare(bodies)
    cpu, began = time.process_time(), time.perf_counter()
    latencies = await _DO[command["do"]](client, bodies, command)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    return {"seconds": seconds, "cpu_s": cpu, "latencies_ms": latencies}


async def _main(module: str) -> None:
    connect: Callable[[], AbstractAsyncContextManager[Client]] = importlib.import_module(module).client
    async with connect() as client:
        spare_the_collector()  # whichever system it is: what is measured is not this process' own heap
        while line := await asyncio.to_thread(sys.stdin.readline):
            try:
                answer = await asyncio.wait_for(run(client, json.loads(line)), TIMEOUT_S)
            except Exception:  # noqa: BLE001 - whatever it is, the session must hear of it
                answer = {"failed": traceback.format_exc(limit=-4)}
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1]))
