"""What more workers and cells bring: a model, and what is measured beside it (``python -m benchmarks.capacity``).

A request costs each part some CPU: submitter, worker, PostgreSQL, Redis. One process has one core at most, and never
all of it; Redis' commands are one thread. So the rate is that of the part that is used up first. What a request costs
is found with two workers in one cell (a Redis and a PostgreSQL). How much of a core one process, and how much of all
cores everything together comes to, is found with requests of one instance; everything else is predicted.

Measured on this machine: one and two workers in one cell, and two cells of one worker each, in rounds. Drawn: what the
model says of cells whose parts have machines of their own.
"""

import argparse
import statistics
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks import report
from benchmarks.running import Running
from benchmarks.session import open_session
from benchmarks.shapes import Shape

SMALL, FULL = Shape(1), Shape(100)
ONE, TWO, TWO_CELLS = (1, 1), (2, 1), (1, 2)
POINTS: Final = (ONE, TWO, TWO_CELLS)
"""Workers in each cell, cells."""


@dataclass(frozen=True)
class Demand:
    """CPU seconds of each part for a thousand requests."""

    submitter: float
    worker: float
    postgres: float
    redis: float

    @property
    def total(self) -> float:
        """Of all of them."""
        return self.submitter + self.worker + self.postgres + self.redis


@dataclass(frozen=True)
class Machine:
    """`process`: the share of a core that one process comes to; `all`: the share of all cores that all come to."""

    cores: int
    process: float
    all: float


def on_one_machine(demand: Demand, machine: Machine, workers: int, cells: int) -> tuple[float, str]:
    """Requests a second, and which part ends first, where everything shares the cores. `workers` of each cell."""
    return _least(
        {
            "workers": cells * workers * machine.process / demand.worker,
            "submitters": cells * machine.process / demand.submitter,
            "Redis": cells * machine.process / demand.redis,
            "cores": machine.cores * machine.all / demand.total,
        }
    )


def apart(demand: Demand, machine: Machine, workers: int, cells: int, postgres_cores: int) -> tuple[float, str]:
    """The same where every process has a core, submitters are as many as it takes, and each cell its servers."""
    return _least(
        {
            "workers": workers * machine.process / demand.worker,
            "Redis": cells * machine.process / demand.redis,
            "PostgreSQL": cells * postgres_cores * machine.all / demand.postgres,
        }
    )


def _least(limits: Mapping[str, float]) -> tuple[float, str]:
    part = min(limits, key=limits.__getitem__)
    return limits[part] * 1000, part


def machine_of(small: Sequence[Mapping[str, Any]]) -> Machine:
    """The two shares, from requests of one instance with one and with two workers in one cell."""
    one, two = (next(row for row in small if (row["workers"], row["cells"]) == point) for point in (ONE, TWO))
    cores = psutil.cpu_count() or 1
    used = two["requests_per_s"] / 1000 * Demand(**two["demand"]).total
    return Machine(cores, one["requests_per_s"] / 1000 * one["demand"]["worker"], used / cores)


def measured(workers: int, cells: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One point: rate and demand of both shapes, in all cells at once."""
    modules = max(FULL.modules_needed(options.full), SMALL.modules_needed(options.small)) + 4
    with ExitStack() as stack:
        systems = [
            stack.enter_context(Running("ours", stack.enter_context(open_session([FULL], modules)), workers=workers))
            for _ in range(cells)
        ]
        found = []
        for shape, count in ((SMALL, options.small), (FULL, options.full)):
            for system in systems:
                system.warm_up(shape, 100 if shape is SMALL else 10)
            with ThreadPoolExecutor(cells) as pool:
                bursts = list(pool.map(lambda system: system.burst(shape, count // cells), systems))  # noqa: B023
            found.append(
                {
                    "shape": str(shape),
                    "workers": workers,
                    "cells": cells,
                    "requests_per_s": sum(burst["requests_per_s"] for burst in bursts),
                    "demand": asdict(_demand(bursts)),
                }
            )
        return found


def _mean(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One point over all rounds."""
    demands = [row["demand"] for row in rows]
    demand = {part: statistics.mean(one[part] for one in demands) for part in demands[0]}
    return rows[0] | {"requests_per_s": statistics.mean(row["requests_per_s"] for row in rows), "demand": demand}


def _demand(bursts: Sequence[Mapping[str, float]]) -> Demand:
    names = ("client", "worker", "postgres", "redis")
    return Demand(*(sum(burst[f"{name}_cpu_s"] for burst in bursts) / len(bursts) for name in names))


def compared(rows: Sequence[dict[str, Any]]) -> tuple[Machine, list[dict[str, Any]]]:
    """Each point with what the model says of it."""
    machine = machine_of([row for row in rows if row["shape"] == str(SMALL)])
    found = []
    for row in rows:
        [base] = [one for one in rows if (one["shape"], one["workers"], one["cells"]) == (row["shape"], *TWO)]
        predicted, part = on_one_machine(Demand(**base["demand"]), machine, row["workers"], row["cells"])
        found.append(row | {"predicted": predicted, "ends_first": part, "off": predicted / row["requests_per_s"] - 1})
    return machine, found


_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT = 720, 300, 70, 30, 150
_STYLE: Final = (
    "<style>text{font:13px sans-serif;fill:#24292f}path{fill:none;stroke-width:2}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}}</style>"
)
_COLOURS: Final = ("#e8590c", "#1971c2", "#2f9e44")
_CELLS: Final = (1, 2, 4)
_MOST_WORKERS, _POSTGRES_CORES = 32, 8


def draw(found: Mapping[str, Any]) -> str:
    """Small requests a second over workers, a line for so many cells and the part that ends first in it."""
    machine = Machine(**found["model"])
    [demand] = [
        Demand(**row["demand"])
        for row in found["points"]
        if (row["shape"], row["workers"], row["cells"]) == (str(SMALL), *TWO)
    ]
    most = apart(demand, machine, _MOST_WORKERS, _CELLS[-1], _POSTGRES_CORES)[0]
    base, width = _HEIGHT - 40, _WIDTH - _LEFT - _RIGHT
    title = f"requests of one instance a second, each process with a core, PostgreSQL with {_POSTGRES_CORES} a cell"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        _STYLE,
        f'<text x="{_LEFT}" y="18" font-weight="bold">{title}</text>',
        f'<path d="M{_LEFT} {_TOP}V{base}H{_LEFT + width}" stroke="#9aa4af"/>',
        f'<text x="{_LEFT - 8}" y="{base}" text-anchor="end">0</text>',
        f'<text x="{_LEFT - 8}" y="{_TOP + 12}" text-anchor="end">{most:,.0f}</text>',
        *(
            f'<text x="{_LEFT + width * at / _MOST_WORKERS:.0f}" y="{base + 18}" text-anchor="middle">{at}</text>'
            for at in (1, 8, 16, 24, 32)
        ),
        f'<text x="{_LEFT + width / 2:.0f}" y="{base + 36}" text-anchor="middle">workers</text>',
    ]
    for colour, cells in zip(_COLOURS, _CELLS, strict=True):
        rates = [apart(demand, machine, workers, cells, _POSTGRES_CORES) for workers in range(1, _MOST_WORKERS + 1)]
        points = [
            f"{_LEFT + width * (place + 1) / _MOST_WORKERS:.0f} {base - (base - _TOP) * rate / most:.0f}"
            for place, (rate, _) in enumerate(rates)
        ]
        rate, part = rates[-1]
        y = base - (base - _TOP) * rate / most + 4
        lines.append(f'<path d="M{" L".join(points)}" stroke="{colour}"/>')
        lines.append(f'<text x="{_LEFT + width + 8}" y="{y:.0f}">{cells} cell{"s" * (cells > 1)}: {part}</text>')
    return "\n".join([*lines, "</svg>\n"])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, predict, print, draw."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=__doc__)
    parser.add_argument("--small", type=int, default=12_000, help="requests of one instance at each point")
    parser.add_argument("--full", type=int, default=240, help="requests of a hundred")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--picture", type=Path, help="where to draw the model")
    parser.add_argument("--out")
    options = parser.parse_args(arguments)
    rounds = [
        [row for workers, cells in POINTS for row in measured(workers, cells, options)] for _ in range(options.rounds)
    ]
    machine, points = compared([_mean(rows) for rows in zip(*rounds, strict=True)])
    for row in points:
        print(
            f"{row['shape']:9} {row['cells']} × {row['workers']} worker(s)  measured {row['requests_per_s']:8,.1f}/s"
            f"  predicted {row['predicted']:8,.1f}/s ({row['off']:+.0%}), {row['ends_first']} end first"
        )
    found = {"points": points, "model": asdict(machine)}
    if options.picture:
        options.picture.write_text(draw(found))
    report.keep(found, options.out, "capacity")


if __name__ == "__main__":
    main()
