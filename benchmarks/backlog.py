"""A long queue: ``python -m benchmarks.backlog --requests 1000000`` enqueues small requests, then starts the workers.

While they drain it, the workers' resident memory and the rate are sampled: neither may depend on how long the queue is.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any

import redis

from benchmarks import measure, report
from benchmarks.running import Running
from benchmarks.session import Session, open_session
from benchmarks.shapes import Shape
from contract.redis.records import Keys
from contract.settings import Settings

_SMALL = Shape(1)
_CHUNK = 10_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Enqueue, drain, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backlog", description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between samples")
    parser.add_argument("--out")
    options = parser.parse_args(arguments)
    # A request that waits longer than its deadline would be ended instead of run.
    patience = {"BKSI_REQUEST_DEADLINE_S": "86400", "BKSI_MAX_PENDING": str(options.requests + 1)}
    with open_session([_SMALL], _SMALL.modules_needed(options.requests), autovacuum=True) as session:
        with Running("ours", session, patience, with_workers=False) as system:
            found = _enqueue(system, session, options.requests)
            system.start_workers()
            samples = _drain(system, session, options)
        stored, expected = session.count_rows(), options.requests * _SMALL.rows
    if stored != expected:
        sys.exit(f"{stored} rows are stored, {expected} were asked for")
    found |= {"requests": options.requests, "samples": samples}
    settled = [sample["workers_mib"] for sample in samples[1:]] or [samples[-1]["workers_mib"]]
    found["workers_mib_least_and_greatest"] = [min(settled), max(settled)]
    print(f"drained at {options.requests / samples[-1]['seconds']:,.0f} req/s;", end=" ")
    print(f"workers took {min(settled):.0f} to {max(settled):.0f} MiB")
    report.keep(found, options.out, "backlog")


def _enqueue(system: Running, session: Session, requests: int) -> dict[str, Any]:
    began = time.perf_counter()
    for first in range(0, requests, _CHUNK):
        system.tell("enqueue", _SMALL, min(_CHUNK, requests - first), first=first)
    seconds = time.perf_counter() - began
    with redis.Redis.from_url(session.durable_redis.url) as client:
        used = client.info("memory")["used_memory"] / measure.MIB
    print(f"{requests:,} requests queued in {seconds:.0f} s, Redis holds {used:,.0f} MiB", file=sys.stderr)
    return {"enqueue_seconds": seconds, "redis_mib": used}


def _drain(system: Running, session: Session, options: argparse.Namespace) -> list[dict[str, float]]:
    began, samples = time.perf_counter(), []
    pending_key = Keys(Settings().key_prefix).pending
    with redis.Redis.from_url(session.durable_redis.url) as client:
        while True:
            time.sleep(options.every)
            system.check_workers()
            sample = {
                "seconds": time.perf_counter() - began,
                "pending": int(client.zcard(pending_key)),
                "workers_mib": measure.memory_mib(system.worker_pids),
            }
            samples.append(sample)
            print(
                f"{sample['seconds']:7.0f} s  {sample['pending']:9,} left  {sample['workers_mib']:5.0f} MiB",
                file=sys.stderr,
            )
            if sample["pending"] == 0:
                return samples


if __name__ == "__main__":
    main()
