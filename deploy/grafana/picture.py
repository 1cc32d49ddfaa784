"""Draw the dashboard's panels from what a real Prometheus answers, for those who have no Grafana at hand.

python -m deploy.grafana.picture    # a system of its own, a minute of work, docs/pictures/dashboard.svg

Needs Debian's package `prometheus`.
"""

import asyncio
import itertools
import math
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

import httpx2

from deploy.grafana.dashboard import PANELS, Panel
from deploy.prometheus_here import configuration
from devstack.process import Guard
from devstack.prometheus import Prometheus
from devstack.running import RunningStack

PICTURE: Final = Path(__file__).parents[2] / "docs" / "pictures" / "dashboard.svg"
_SECONDS, _STEP = 60, 1
_COLUMNS, _WIDTH, _HEIGHT, _PLOT, _GAP = 3, 400, 210, 110, 16
_COLOURS: Final = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f")
_MOST_SHOWN = 6
_UNITS: Final = {"s": " s", "bytes": " B", "reqps": "/s", "ops": "/s"}

Series = tuple[str, list[tuple[float, float]]]


def main() -> int:
    """Run, work, ask, draw."""
    program = shutil.which("prometheus")
    if program is None:
        sys.stderr.write("needs Prometheus: apt-get install prometheus\n")
        return 1
    with tempfile.TemporaryDirectory() as name, Guard() as guard:
        directory = Path(name)
        with RunningStack.start(directory / "stack", "--workers", "2") as stack:
            server, *workers = [url.removeprefix("http://").removesuffix("/metrics") for url in stack.metrics]
            asked = configuration({"bksi-server": [server], "bksi-worker": workers})
            with Prometheus(directory / "prometheus", guard, program=Path(program), configuration=asked) as prometheus:
                asyncio.run(_work(stack.http))
                end = time.time()
                answers = [(panel, _ask(prometheus, panel, end)) for panel in PANELS]
    PICTURE.write_text(draw(answers), encoding="utf-8")
    return 0


async def _work(http: str) -> None:
    """Callers that come and go, some of whom are wrong."""
    until = time.monotonic() + _SECONDS
    numbers = itertools.count(1)

    async def caller(client: httpx2.AsyncClient) -> None:
        while (left := until - time.monotonic()) > 0:
            number = next(numbers)
            body = _full(number) if number % 40 == 0 else _small(number)
            await client.post(f"{http}/v1/batches", json=body)
            # More of it in the middle.
            await asyncio.sleep(0.02 + abs(left - _SECONDS / 2) / _SECONDS * 0.3)

    async with httpx2.AsyncClient(timeout=60) as client:
        await asyncio.gather(*[caller(client) for _ in range(16)])


def _small(number: int) -> dict[str, Any]:
    process = {"process_info": {"bk_process_name": f"p{number}", "bk_func_name": "p", "bind_info": []}}
    module = 999 if number % 23 == 0 else 61
    instance = {"bk_host_id": number % 40 + 1, "service_instance_name": f"n{number}", "processes": [process]}
    return {"bk_biz_id": 0 if number % 37 == 0 else 1, "bk_module_id": module, "instances": [instance]}


def _full(number: int) -> dict[str, Any]:
    instances = [_small(23 * 37 * number + 1)["instances"][0] | {"bk_host_id": host} for host in range(1, 41)]
    return {"bk_biz_id": 1, "bk_module_id": 61, "instances": instances}


def _ask(prometheus: Prometheus, panel: Panel, end: float) -> list[Series]:
    found: list[Series] = []
    for legend, expression in panel.queries.items():
        asked = expression.replace("$__rate_interval", "5s")
        for series in prometheus.query_range(asked, end - _SECONDS, end, _STEP):
            points = [(at - end + _SECONDS, float(value)) for at, value in series["values"]]
            finite = [(at, value) for at, value in points if math.isfinite(value)]
            found.append((_named(legend, series["metric"]), finite))
    return found


def _named(legend: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"{{(\w+)}}", lambda name: labels.get(name[1], ""), legend)


def draw(answers: Sequence[tuple[Panel, Sequence[Series]]]) -> str:
    """One SVG with a plot for each panel."""
    rows = -(-len(answers) // _COLUMNS)
    width, height = _COLUMNS * _WIDTH + _GAP, rows * _HEIGHT + _GAP
    body = "\n".join(
        "\n".join(
            [
                f'<g transform="translate({index % _COLUMNS * _WIDTH + _GAP},{index // _COLUMNS * _HEIGHT + _GAP})">',
                *_plot(panel, series),
                "</g>",
            ]
        )
        for index, (panel, series) in enumerate(answers)
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">'
    return f'{head}\n<rect width="{width}" height="{height}" fill="white"/>\n{body}\n</svg>\n'


def _plot(panel: Panel, series: Sequence[Series]) -> Iterator[str]:
    wide, top = _WIDTH - 3 * _GAP, 30
    most = max([value for _, points in series for _, value in points], default=0) or 1.0
    yield f'<text y="14" font-size="13" font-weight="bold">{escape(panel.title)}</text>'
    yield f'<text y="26" font-size="9" fill="#555">{_shown(most)}{_UNITS.get(panel.unit, "")}</text>'
    yield f'<line x1="0" x2="{wide}" y1="{top + _PLOT}" y2="{top + _PLOT}" stroke="#999"/>'
    for index, (name, points) in enumerate(series[:_MOST_SHOWN]):
        colour = _COLOURS[index % len(_COLOURS)]
        line = " ".join(
            f"{at / _SECONDS * wide:.1f},{top + _PLOT - max(value, 0) / most * _PLOT:.1f}" for at, value in points
        )
        yield f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.3"/>'
        x, y = index % 2 * wide // 2, top + _PLOT + 14 + index // 2 * 12
        yield f'<text x="{x}" y="{y}" font-size="9.5" fill="{colour}">{escape(name)}</text>'
    if len(series) > _MOST_SHOWN:
        y = top + _PLOT + 14 + _MOST_SHOWN // 2 * 12
        yield f'<text y="{y}" font-size="9.5" fill="#555">and {len(series) - _MOST_SHOWN} more</text>'


def _shown(value: float) -> str:
    for size, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {name}"
    return f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())
