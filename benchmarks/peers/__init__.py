"""Everything that is measured: how its workers are started, and which Valkey it uses.

Each has a module of its own here with ``client()``, an async context manager that gives a `benchmarks.client.Client`.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

PROCESSES: Final = 2
"""Worker processes of every system: one for each core of a small machine."""


def _bin(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


_TASKIQ: Final = (
    *(_bin("taskiq"), "worker", "benchmarks.peers.taskiq:broker"),
    *(f"--workers={PROCESSES}", "--log-level=WARNING"),
)
_UVICORN: Final = (
    *(_bin("uvicorn"), "benchmarks.peers.fastapi:app", "--host=127.0.0.1", "--port={http_port}"),
    *(f"--workers={PROCESSES}", "--loop=uvloop", "--http=httptools"),
    *("--no-access-log", "--log-level=warning"),
)


@dataclass(frozen=True)
class Peer:
    """One system. `module` has its client; `workers` are the commands that serve it, none for a floor."""

    module: str
    what: str
    workers: tuple[tuple[str, ...], ...] = ()
    redis: Literal["durable", "usual"] = "usual"
    share: float = 1.0
    """How much of the requests it gets: a system that is 20 times slower would make the session 20 times longer."""
    environment: Mapping[str, str] = field(default_factory=dict)


PEERS: Final[Mapping[str, Peer]] = {
    "ours": Peer(
        "benchmarks.peers.ours",
        "Submitter, bksi worker, report",
        workers=((_bin("bksi"), "worker"),) * PROCESSES,
        redis="durable",
        # Thousands of waits in one process share 16 connections; in a burst a turn may take longer than 2 seconds.
        environment={"BKSI_REDIS_TIMEOUT_S": "30"},
    ),
    "celery": Peer(
        "benchmarks.peers.plain_celery",
        "plain Celery: prefork, ORM, result backend",
        workers=(
            (
                *(_bin("celery"), "--app=benchmarks.peers.plain_celery", "worker"),
                *("--pool=prefork", f"--concurrency={PROCESSES}", "--loglevel=WARNING"),
            ),
        ),
        share=0.1,
    ),
    "taskiq": Peer(
        "benchmarks.peers.taskiq", "taskiq, list broker (a crash loses what is in flight)", workers=(_TASKIQ,)
    ),
    "taskiq-stream": Peer(
        "benchmarks.peers.taskiq",
        "taskiq, stream broker (acknowledged)",
        workers=(_TASKIQ,),
        environment={"BENCH_BROKER": "stream"},
    ),
    "taskiq-stream-grouped": Peer(
        "benchmarks.peers.taskiq",
        "taskiq, stream broker (acknowledged), with this project's group commit",
        workers=(_TASKIQ,),
        environment={"BENCH_BROKER": "stream", "BENCH_GROUPED": "1"},
    ),
    "streaq": Peer(
        "benchmarks.peers.streaq",
        "streaq",
        workers=((_bin("streaq"), "run", "benchmarks.peers.streaq:worker", f"--workers={PROCESSES}"),),
    ),
    "fastapi": Peer(
        "benchmarks.peers.fastapi",
        "FastAPI inserting in the handler, a transaction for each request, no queue",
        workers=(_UVICORN,),
    ),
    "fastapi-grouped": Peer(
        "benchmarks.peers.fastapi",
        "FastAPI with this project's group commit, no queue: what the queue itself costs",
        workers=(_UVICORN,),
        environment={"BENCH_GROUPED": "1"},
    ),
    "copy": Peer("benchmarks.peers.floor", "floor: COPY of prepared rows", environment={"BENCH_FLOOR": "copy"}),
    "insert": Peer(
        "benchmarks.peers.floor", "floor: one statement of prepared rows", environment={"BENCH_FLOOR": "insert"}
    ),
}
