"""The main comparison: every system, every shape, in interleaved rounds of one session."""

import argparse
import os
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import report
from benchmarks.peers import PEERS
from benchmarks.running import Running
from benchmarks.session import Session, open_session
from benchmarks.shapes import Shape

SHAPES = ("1", "100x2x2", "100x10x1", "1d", "100x2x2d", "100x10x1d")
WARM_UP = 200
"""Requests of one instance before anything is measured; of larger ones a tenth."""


@dataclass(frozen=True)
class Volume:
    """How much is measured: requests in a burst of small and of full requests, seconds of light load, warm-up."""

    small: int
    full: int
    light_s: float
    warm_up: int

    def burst(self, shape: Shape, share: float) -> int:
        """Requests of one burst; a full request counts by its rows, so that bursts take about as long."""
        if shape.instances == 1:
            return max(20, round(self.small * share))
        return max(8, round(self.full * share * min(1.0, 700 / shape.rows)))


DEFAULT = Volume(small=10_000, full=200, light_s=5.0, warm_up=WARM_UP)
QUICK = Volume(small=1500, full=60, light_s=2.0, warm_up=60)


def light_rate(shape: Shape) -> float:
    """Requests a second that no system finds hard."""
    return 20.0 if shape.instances == 1 else 5.0


def measure_system(name: str, session: Session, shapes: Sequence[Shape], volume: Volume) -> list[dict[str, Any]]:
    """One system's turn in one round."""
    found: list[dict[str, Any]] = []
    share = PEERS[name].share
    with Running(name, session) as system:
        for shape in shapes:
            warm_up = max(4, round(volume.warm_up * share * (1.0 if shape.instances == 1 else 0.1)))
            system.warm_up(shape, warm_up)
            numbers = system.burst(shape, volume.burst(shape, share))
            if volume.light_s:
                rate = light_rate(shape)
                numbers |= system.light_load(shape, rate, max(4, round(rate * volume.light_s)))
            found.append({"system": name, "shape": str(shape)} | numbers)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write JSON."""
    options = _options(arguments)
    volume = QUICK if options.quick else DEFAULT
    largest = [shape.modules_needed(max(volume.burst(shape, 1.0), 100) + volume.warm_up) for shape in options.shape]
    if options.lean:
        os.environ["BENCH_INSERT"] = "lean"
    if options.redis:
        os.environ["BENCH_REDIS"] = options.redis
    runs: list[dict[str, Any]] = []
    out = options.out
    with open_session(options.shape, max(*largest, options.modules)) as session:
        for number in range(1, options.rounds + 1):
            order = list(options.only)
            random.shuffle(order)
            for name in order:
                print(f"round {number} of {options.rounds}: {name}", file=sys.stderr, flush=True)
                runs += [{"round": number} | found for found in measure_system(name, session, options.shape, volume)]
                # After each turn: should a later one fail, what was measured before it is kept.
                document = report.document(runs, session) | {"lean": options.lean, "redis": options.redis}
                out = report.write(document, out)
    report.show(document)
    print(f"written to {out}", file=sys.stderr)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("--only", type=_systems, default=list(PEERS), help=f"comma-separated; of {', '.join(PEERS)}")
    parser.add_argument("--shape", type=_shapes, default=_shapes(",".join(SHAPES)), help="as 1,100x2x2,100x10x1")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="fewer requests: for a look, not for a claim")
    parser.add_argument("--lean", action="store_true", help="peers write neither ledger nor audit record")
    parser.add_argument(
        "--redis",
        choices=("durable", "usual"),
        help="everybody gets the Valkey that flushes every write, or the one with default settings",
    )
    parser.add_argument("--modules", type=int, default=200, help="size of the catalogue: modules, of 100 hosts each")
    parser.add_argument("--out", default=None, help="file for the JSON; by default results/DATE-compare.json")
    return parser.parse_args(arguments)


def _systems(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(PEERS):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))} is none of {', '.join(PEERS)}")
    return names


def _shapes(text: str) -> list[Shape]:
    try:
        return [Shape.parse(part) for part in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


if __name__ == "__main__":
    main()
