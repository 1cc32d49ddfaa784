"""A picture of a result: ``python -m benchmarks.plot results/….json`` writes an SVG beside it."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt

_PANELS = {"requests_per_s": "requests/s", "worker_cpu_s": "worker CPU s per 1,000", "p50_ms": "p50 ms, light load"}


def draw(found: Mapping[str, Any], path: Path) -> None:
    """Bars of the medians with the least and the greatest of the rounds as whiskers; ours stands out."""
    shapes = list(dict.fromkeys(row["shape"] for row in found["summary"]))
    figure, axes = plt.subplots(
        len(shapes), len(_PANELS), figsize=(4.2 * len(_PANELS), 2.6 * len(shapes)), squeeze=False
    )
    for line, shape in zip(axes, shapes, strict=True):
        for axis, (name, title) in zip(line, _PANELS.items(), strict=True):
            rows = [row for row in found["summary"] if row["shape"] == shape and row.get(name, [0])[0]]
            medians = [row[name][0] for row in rows]
            whiskers = [[row[name][0] - row[name][1] for row in rows], [row[name][2] - row[name][0] for row in rows]]
            colours = ["tab:orange" if row["system"] == "ours" else "tab:grey" for row in rows]
            axis.barh([row["system"] for row in rows], medians, xerr=whiskers, color=colours)
            axis.invert_yaxis()
            axis.set_title(f"{shape}: {title}", fontsize=9)
            axis.tick_params(labelsize=8)
    figure.suptitle(f"{found['when']}, {found['machine']['cpu']}, {found['machine']['cores']} cores", fontsize=8)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw each file that is named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plot", description=__doc__)
    parser.add_argument("results", nargs="+", type=Path)
    for path in parser.parse_args(arguments).results:
        picture = path.with_suffix(".svg")
        draw(json.loads(path.read_text()), picture)
        print(picture)


if __name__ == "__main__":
    main()
