"""Latency under load: small and full requests at once, at a part of what the machine can do.

First each shape's maximum is measured alone. Then both run beside each other, small requests at ``--share / 2`` of
their maximum and full ones at ``--share / 2`` of theirs, and what each request took is reported. ``python -m
benchmarks.latency --share 0.7``
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks import report
from benchmarks.client import Failed
from benchmarks.measure import percentile
from benchmarks.peers import PEERS
from benchmarks.running import Running
from benchmarks.session import open_session
from benchmarks.shapes import Shape

SMALL, FULL = Shape(1), Shape(100)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the maxima, then the mix."""
    options = _options(arguments)
    rounds: list[dict[str, float]] = []
    modules = max(options.modules, FULL.modules_needed(options.full), SMALL.modules_needed(options.small + 200))
    with open_session([SMALL, FULL], modules) as session:
        for _ in range(options.rounds):
            with Running(options.system, session) as system:
                system.warm_up(SMALL, 100)
                small = system.burst(SMALL, options.small)["requests_per_s"]
                full = system.burst(FULL, options.full)["requests_per_s"]
                rounds.append({"small_max": small, "full_max": full} | _mixed(system, small, full, options))
                print(rounds[-1], file=sys.stderr)
    found = {"share": options.share, "rounds": rounds}
    for name in rounds[0]:
        values = sorted(one[name] for one in rounds)
        print(f"{name:14} {values[len(values) // 2]:10.1f}   ({values[0]:.1f} … {values[-1]:.1f})")
    report.keep(found, options.out, "latency")


def _mixed(system: Running, small: float, full: float, options: argparse.Namespace) -> dict[str, float]:
    """Both shapes at once. They use different modules: the small ones begin where the full ones end."""
    rates = {SMALL: small * options.share / 2, FULL: full * options.share / 2}
    counts = {shape: max(10, round(rate * options.seconds)) for shape, rate in rates.items()}
    modules = system.modules
    if counts[FULL] + -(-counts[SMALL] // 100) > modules:
        raise Failed(f"--seconds {options.seconds} needs more modules: give --modules {sum(counts.values())}")
    parts: list[dict[str, Any]] = [
        {"shape": str(shape), "count": counts[shape], "rate": rates[shape]} for shape in (SMALL, FULL)
    ]
    # Full request n takes module n; small ones must ask for other (module, host) pairs, so they begin at the last.
    parts[0]["backwards"] = True
    latencies = system.mix(parts)
    small_p50, small_p99 = (percentile(latencies[0], percent) for percent in (50, 99))
    return {
        "small_rate": rates[SMALL],
        "full_rate": rates[FULL],
        "small_p50_ms": small_p50,
        "small_p99_ms": small_p99,
        "small_p99/p50": small_p99 / small_p50,
        "full_p50_ms": percentile(latencies[1], 50),
        "full_p99_ms": percentile(latencies[1], 99),
    }


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__)
    parser.add_argument("--share", type=float, default=0.7)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small", type=int, default=4000, help="small requests in the burst that finds the maximum")
    parser.add_argument("--full", type=int, default=200, help="full requests in that burst")
    parser.add_argument("--modules", type=int, default=2000)
    parser.add_argument("--system", default="ours", choices=[name for name, peer in PEERS.items() if peer.workers])
    parser.add_argument("--out")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
