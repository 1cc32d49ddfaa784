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
    ),
}
