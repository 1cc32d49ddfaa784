"""Who reads, in a process of its own: ``python -m benchmarks.read_caller PORT RATE SECONDS INSTANCES``.

So many times a second, whether or not earlier ones have been answered, it asks `bksi read` for what a monitor asks
CMDB for: the details of one host's instance, by module. Where the database is slower than what is asked of it, some are
refused, and counted. One line of JSON at the end.
"""

import asyncio
import json
import random
import sys
import time
from typing import Final

import uvloop

from benchmarks.http import HttpClient
from benchmarks.measure import percentile
from benchmarks.shapes import BK_BIZ_ID
from contract.codes import Code
from plumbing.collector import spare_the_collector

MODULES: Final = 5000
"""Instance n of `benchmarks.growth.fill` is on host n, in module 1 + n % 5000."""
_PATH: Final = "/api/v3/findmany/proc/service_instance/details"
_OPEN_AT_ONCE: Final = 200


async def _read(http: HttpClient, number: int) -> float | None:
    """How many milliseconds it took; None: it was refused."""
    body = {"bk_biz_id": BK_BIZ_ID, "bk_module_id": 1 + number % MODULES, "bk_host_list": [number]}
    began = time.perf_counter()
    status, answer = await http.post(_PATH, json.dumps(body | {"page": {"start": 0, "limit": 10}}).encode())
    took = (time.perf_counter() - began) * 1000
    said = json.loads(answer)
    if said["code"] == Code.BROKER_UNAVAILABLE:
        return None
    if said["code"] != Code.SUCCESS or said["data"]["count"] != 1:
        raise RuntimeError(f"HTTP {status}: {answer[:500]!r}")
    return took


async def _main(port: int, rate: float, seconds: float, instances: int) -> None:
    answers: list[float | None] = []
    slots = asyncio.Semaphore(_OPEN_AT_ONCE)
    async with HttpClient(port) as http, asyncio.TaskGroup() as group:

        async def one() -> None:
            answers.append(await _read(http, random.randint(1, instances)))
            slots.release()

        began = time.perf_counter()
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            if time.perf_counter() - began > seconds:
                break  # it cannot keep up
            await slots.acquire()
            group.create_task(one())
        elapsed = max(time.perf_counter() - began, seconds)
    took = [one for one in answers if one is not None]
    found = {"reads_per_s": len(took) / elapsed, "refused_per_s": (len(answers) - len(took)) / elapsed}
    found |= {"p50_ms": percentile(took, 50), "p99_ms": percentile(took, 99)}
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    spare_the_collector()
    uvloop.run(_main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])))
