"""The guarded transport beside kombu's own: tasks that do nothing, through real Celery workers, in interleaved rounds.

    python -m benchmarks.transport --tasks 5000 --rounds 3 --processes 1

A round starts fresh workers on an empty queue and fills it. It measures from then until the queue is empty and every
message acknowledged: tasks per second, CPU seconds per 1000 tasks of the workers and of Redis, and then how long a
single task takes from `LPUSH` to done on the idle system. Redis writes to disk before it answers, unless --no-fsync.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import cast

import psutil
import redis
from celery import Celery

from contract.settings import Settings
from devstack.process import Guard, Process
from devstack.servers import Valkey
from worker.consumer.transport.configure import use_transport

QUEUE = "bench"


def make_app(broker: str, transport: str, prefetch: int) -> Celery:
    settings = Settings(broker_url=broker, transport=transport)
    app = Celery("bench", broker=broker, set_as_current=False)
    app.conf.update(
        task_default_queue=QUEUE,
        task_ignore_result=True,
        task_acks_late=True,
        worker_prefetch_multiplier=prefetch,
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_transport_options={"socket_timeout": 10, "health_check_interval": 10},
    )

    answers = redis.Redis.from_url(broker)

    @app.task(name="noop.v1")
    def noop(done: str | None = None) -> None:
        if done:
            answers.lpush(done, 1)

    use_transport(app, settings, ["noop.v1"])
    return app


if "BENCH_BROKER" in os.environ:
    app = make_app(os.environ["BENCH_BROKER"], os.environ["BENCH_TRANSPORT"], int(os.environ["BENCH_PREFETCH"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--prefetch", type=int, default=1, help="messages held per thread")
    parser.add_argument("--no-fsync", action="store_true")
    options = parser.parse_args()
    results: dict[str, list[tuple[float, ...]]] = {"stock": [], "guarded": []}
    with (
        tempfile.TemporaryDirectory() as directory,
        Guard() as guard,
        Valkey(Path(directory) / "redis", guard) as server,
    ):
        client = redis.Redis.from_url(server.url)
        if options.no_fsync:
            client.config_set("appendfsync", "no")
        for number in range(options.rounds):
            for transport in ("stock", "guarded") if number % 2 else ("guarded", "stock"):
                client.flushall()
                result = measure(server, client, transport, options, Path(directory), guard)
                results[transport].append(result)
                print(f"{transport:8}" + "".join(f"{value:10.3f}" for value in result), flush=True)
    print("\nmedian   tasks/s  worker CPU s/1000  redis CPU s/1000  idle ms p50")
    for transport, rounds in results.items():
        middle = [statistics.median(column) for column in zip(*rounds, strict=True)]
        print(f"{transport:8} {middle[0]:7.0f} {middle[1]:14.3f} {middle[2]:17.3f} {middle[3]:13.2f}")
    rates = [statistics.median(one[0] for one in results[name]) for name in ("guarded", "stock")]
    print(f"guarded is {rates[0] / rates[1]:.2f} times as fast")


def measure(  # noqa: PLR0917 - called once, below its caller
    server: Valkey, client: "redis.Redis", transport: str, options: argparse.Namespace, directory: Path, guard: Guard
) -> tuple[float, ...]:
    environment = os.environ | {
        "BENCH_BROKER": server.url,
        "BENCH_TRANSPORT": transport,
        "BENCH_PREFETCH": str(options.prefetch),
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    command = [sys.executable, "-m", "celery", "-A", "benchmarks.transport", "worker", "-P", "threads"]
    command += ["-c", str(options.threads), "--without-gossip", "--without-mingle", "--without-heartbeat"]
    workers = [
        Process(
            f"w{i}",
            [*command, "-n", f"w{i}@bench"],
            log=directory / f"{transport}{i}.log",
            guard=guard,
            env=environment,
        )
        for i in range(options.processes)
    ]
    try:
        sender = make_app(server.url, "stock", 1)
        message = prepared(sender, client)
        push(client, [message] * 2 * options.threads)  # wakes the pools
        for worker in workers:
            worker.wait_until(lambda: settled(client), timeout_s=30)
        time.sleep(1)
        processes = [psutil.Process(worker.pid) for worker in workers]
        before, redis_before, begin = cpu(processes), cpu([psutil.Process(server.pid)]), time.perf_counter()
        push(client, [message] * options.tasks)
        while not settled(client):
            time.sleep(0.005)
        elapsed = time.perf_counter() - begin
        used, redis_used = cpu(processes) - before, cpu([psutil.Process(server.pid)]) - redis_before
        waits = [latency(sender, client, number) for number in range(40)]
    finally:
        for worker in workers:
            worker.kill()
    thousands = options.tasks / 1000
    return options.tasks / elapsed, used / thousands, redis_used / thousands, statistics.median(waits) * 1000


def prepared(sender: Celery, client: "redis.Redis") -> bytes:
    sender.tasks["noop.v1"].apply_async((), queue="template")
    return cast("bytes", client.rpop("template"))


def push(client: "redis.Redis", messages: list[bytes]) -> None:
    for start in range(0, len(messages), 500):
        client.lpush(QUEUE, *messages[start : start + 500])


def settled(client: "redis.Redis") -> bool:
    held = client.hlen("unacked")
    for key in client.keys("bksi:unacked:*"):
        held += client.hlen(key) - 1
    return not client.llen(QUEUE) and held <= 0


def latency(sender: Celery, client: "redis.Redis", number: int) -> float:
    begin = time.perf_counter()
    sender.tasks["noop.v1"].apply_async((f"done{number}",))
    client.blpop(f"done{number}", 10)
    return time.perf_counter() - begin


def cpu(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


if __name__ == "__main__":
    main()
