"""The numbers and the picture at the top of the READMEs and of the benchmarks' page, from one result of the comparison.

python -m benchmarks.headline benchmarks/results/2026-11-27-compare.json
"""

import argparse
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
PICTURE: Final = ROOT / "docs" / "pictures" / "headline.svg"
BARS: Final = {
    "ours": "bksi",
    "fastapi": "FastAPI inserting in its handler",
    "taskiq": "taskiq",
    "celery": "plain Celery",
}
SHAPES: Final = {"1x2x2": "one instance a request", "100x2x2": "100 instances a request"}
TEXTS: Final = {
    "README.md": """\
**{small:,.0f} requests of one instance, or {full:.0f} of a hundred ({rows:,.0f} rows), a second** on {cores} cores
that run everything, with every accepted request and every row on disk: {times:.0f} times plain Celery.
[All of it]({result}).

![Requests a second: bksi, FastAPI, taskiq, plain Celery](docs/pictures/headline.svg)
""",
    "README.zh-CN.md": """\
在运行全部进程的 {cores} 核机器上，**每秒完成 {small:,.0f} 个单实例请求，或 {full:.0f} 个百实例请求
（{rows:,.0f} 行）**，受理的请求和写入的每一行都已落盘：是普通 Celery 的 {times:.0f} 倍。[全部数据]({result})。

![每秒请求数：bksi、FastAPI、taskiq、普通 Celery](docs/pictures/headline.svg)
""",
    "benchmarks/README.md": """\
- Small requests: **{small:,.0f} a second** on {cores} cores that run everything, databases included.
- Full requests of a hundred instances: **{full:.0f} a second**, which are {rows:,.0f} rows.
- Of small ones that is {times:.0f} times as many as plain Celery does, and {queue:.1f} times as many as taskiq, a fast
  queue that keeps less.
- A web handler without a queue loses what it has in hand when it dies. This is {handler:.1f} times as many small
  requests as it does, and {full_handler:.1f} times as many full ones.
- A lone small request is done in {p50:.0f} ms, 99 of 100 in {p99:.0f} ms.

![Requests a second: bksi, FastAPI, taskiq, plain Celery](../docs/pictures/headline.svg)
""",
}
_WIDTH, _LEFT, _BAR, _ROW, _TITLE = 720, 230, 400, 24, 34
_STYLE = (
    "<style>text{font:13px sans-serif;fill:#24292f}.title{font-weight:bold}rect{fill:#9aa4af}.ours{fill:#e8590c}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}rect{fill:#6e7681}}</style>"
)


def texts(result: Path) -> dict[str, str]:
    """What stands between the markers of each page."""
    found = json.loads(result.read_text())
    ours = {shape: _row(found, shape, "ours") for shape in SHAPES}
    values = {
        "small": ours["1x2x2"]["requests_per_s"][0],
        "full": ours["100x2x2"]["requests_per_s"][0],
        "rows": ours["100x2x2"]["rows_per_s"][0],
        "cores": found["machine"]["cores"],
        "p50": ours["1x2x2"]["p50_ms"][0],
        "p99": ours["1x2x2"]["p99_ms"][0],
        "times": _times(found, "1x2x2", "celery"),
        "queue": _times(found, "1x2x2", "taskiq"),
        "handler": _times(found, "1x2x2", "fastapi"),
        "full_handler": _times(found, "100x2x2", "fastapi"),
        "result": result.resolve().relative_to(ROOT),
    }
    return {page: text.format_map(values) for page, text in TEXTS.items()}


def picture(result: Path) -> str:
    """Bars of the medians, a group for each shape, each group by its own scale."""
    found = json.loads(result.read_text())
    height = len(SHAPES) * (_TITLE + _ROW * len(BARS)) + 14
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
            _STYLE,
            *(line for number, shape in enumerate(SHAPES) for line in _group(found, shape, number)),
            "</svg>\n",
        ]
    )


def _group(found: Mapping[str, Any], shape: str, number: int) -> Iterator[str]:
    rates = {system: _row(found, shape, system)["requests_per_s"][0] for system in BARS}
    top = number * (_TITLE + _ROW * len(BARS)) + 22
    yield f'<text class="title" x="{_LEFT}" y="{top}">requests a second, {SHAPES[shape]}</text>'
    for place, (system, rate) in enumerate(rates.items()):
        y = top + 10 + place * _ROW
        width = rate / max(rates.values()) * _BAR
        yield f'<text x="{_LEFT - 10}" y="{y + 13}" text-anchor="end">{BARS[system]}</text>'
        yield f'<rect class="{system}" x="{_LEFT}" y="{y}" width="{width:.0f}" height="{_ROW - 6}"/>'
        yield f'<text x="{_LEFT + width + 8:.0f}" y="{y + 13}">{rate:,.0f}</text>'


def _row(found: Mapping[str, Any], shape: str, system: str) -> dict[str, Any]:
    [row] = [row for row in found["summary"] if (row["shape"], row["system"]) == (shape, system)]
    return dict(row)


def _times(found: Mapping[str, Any], shape: str, system: str) -> float:
    """How many times as many requests a second ours are."""
    [row] = [row for row in found["ratios"] if (row["shape"], row["against"]) == (shape, system)]
    return float(row["requests_per_s"][0])


def between(page: str, text: str) -> str:
    """The page with `text` between its markers."""
    marked = re.compile(r"(?<=<!-- headline -->\n).*?(?=<!-- /headline -->\n)", re.DOTALL)
    return marked.sub(lambda _: text, page, count=1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the pages and the picture."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.headline", description=__doc__)
    parser.add_argument("result", type=Path)
    result = parser.parse_args(arguments).result
    PICTURE.write_text(picture(result))
    for name, text in texts(result).items():
        page = ROOT / name
        page.write_text(between(page.read_text(encoding="utf-8"), text), encoding="utf-8")


if __name__ == "__main__":
    main()
