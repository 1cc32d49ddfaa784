"""200 hosts with 10 processes each, asked for in two batches: ``python -m benchmarks.two_batches``.

The largest thing that people ask for by hand. Counted from the first submit until both reports are there.
"""

import argparse
import sys
from collections.abc import Sequence

from benchmarks import report
from benchmarks.measure import median_and_range
from benchmarks.running import Running
from benchmarks.session import open_session
from benchmarks.shapes import Shape

_FULL = Shape(100, processes=10, binds=1)
_BATCHES = 2
_WARM_UP = 20


def main(arguments: Sequence[str] | None = None) -> None:
    """Ask for it again and again, each time for hosts that have nothing yet, one time at a time."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.two_batches", description=__doc__)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--out")
    options = parser.parse_args(arguments)
    with open_session([_FULL], _FULL.modules_needed(_BATCHES * options.times + _WARM_UP)) as session:
        with Running("ours", session) as system:
            system.warm_up(_FULL, _WARM_UP)
            took = [
                system.tell("burst", _FULL, _BATCHES, first=_BATCHES * number)["seconds"]
                for number in range(options.times)
            ]
        stored, expected = session.count_rows(), _BATCHES * options.times * _FULL.rows
    if stored != expected:
        sys.exit(f"{stored} rows are stored, {expected} were asked for")
    median, least, greatest = median_and_range(took)
    print(f"200 hosts x 10 processes: {median * 1000:.0f} ms ({least * 1000:.0f} … {greatest * 1000:.0f})")
    report.keep({"seconds": took}, options.out, "two-batches")


if __name__ == "__main__":
    main()
