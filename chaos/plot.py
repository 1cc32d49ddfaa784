"""A picture of a run as one SVG file, drawn from the document that `chaos.run` writes."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

_WIDTH, _LEFT, _RIGHT = 1000, 60, 20
_TOP, _RATE, _GAP, _DOTS = 60, 140, 40, 220
_LEGEND_ROW, _LEGEND_COLUMNS = 18, 4
_COLOURS: Final = ("#d62728", "#1f77b4", "#2ca02c", "#ff7f0e", "#9467bd", "#8c564b", "#e377c2", "#17becf", "#7f7f7f")
_FAMILIES: Final = (
    ("kill worker", "kill all"),
    ("kill shim",),
    ("freeze",),
    ("Redis loses power",),
    ("Redis",),
    ("PostgreSQL is killed",),
    ("PostgreSQL", "commit"),
    ("messages", "reports"),
)
_NAMES: Final = (
    *("kill -9 of workers", "kill -9 of shims", "frozen workers", "power loss of Redis", "other faults of Redis"),
    *("kill -9 of PostgreSQL", "other faults of PostgreSQL", "repeats and lost reports"),
)


def draw(document: Mapping[str, Any], limit_s: float) -> str:
    """Above: requests that ended, by second. Below: every fault as a dot, as high as recovery took."""
    seconds = max(float(document["seconds"]), len(document["ended_per_second"]), 1.0)
    highest = max([limit_s * 1.1, *(fault["recovery_s"] for fault in document["timeline"])])
    legend_top = _TOP + _RATE + _GAP + _DOTS + 44
    height = legend_top + _LEGEND_ROW * -(-len(_NAMES) // _LEGEND_COLUMNS) + 10
    title = (
        f"{document['when']}: {document['kills']} kill -9, {len(document['timeline'])} faults;"
        f" {document['accepted']} accepted, {document['lost']} lost, {document['doubled']} doubled"
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        _text(_LEFT, 24, title, size=15),
        _text(_LEFT, 42, document["command"], colour="#555"),
        *_rate(document["ended_per_second"], seconds),
        *_dots(document["timeline"], seconds, highest, limit_s),
        *_legend(legend_top),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _rate(per_second: Sequence[int], seconds: float) -> Iterable[str]:
    # As many columns as a reader can tell apart.
    step = max(1, round(seconds / 240))
    columns = [sum(per_second[at : at + step]) / step for at in range(0, len(per_second), step)]
    most = max([1.0, *columns])
    base = _TOP + _RATE
    points = [f"{_x(0, seconds):.1f},{base}"]
    points += [
        f"{_x(index * step, seconds):.1f},{base - value / most * (_RATE - 20):.1f}"
        for index, value in enumerate(columns)
    ]
    points.append(f"{_x(min(len(columns) * step, seconds), seconds):.1f},{base}")
    yield f'<polygon points="{" ".join(points)}" fill="#c6dbef" stroke="#6baed6" stroke-width="0.7"/>'
    yield from _axis(base, _RATE - 20, most, "requests ended per second")


def _dots(timeline: Sequence[Mapping[str, Any]], seconds: float, highest: float, limit_s: float) -> Iterable[str]:
    base = _TOP + _RATE + _GAP + _DOTS
    scale = (_DOTS - 20) / highest
    yield from _axis(base, _DOTS - 20, highest, "recovery after each fault, s")
    y = base - limit_s * scale
    yield f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#999" stroke-dasharray="5 4"/>'
    yield _text(_WIDTH - _RIGHT, y - 4, f"{limit_s:.0f} s", anchor="end", colour="#555")
    for fault in timeline:
        x, y = _x(fault["ended_at_s"], seconds), base - fault["recovery_s"] * scale
        said = escape(f"{fault['kind']} ({fault['target']}) at {fault['began_at_s']} s: {fault['recovery_s']} s")
        colour = _COLOURS[_family(fault["kind"])]
        place = f'cx="{x:.1f}" cy="{y:.1f}" r="2.2"'
        yield f'<circle {place} fill="{colour}" fill-opacity="0.75"><title>{said}</title></circle>'
    step = _round_step(seconds)
    for at in range(0, int(seconds) + 1, step):
        yield _text(
            _x(at, seconds), base + 16, f"{at // 60} min" if step >= 60 else f"{at} s", anchor="middle", colour="#555"
        )


def _legend(top: int) -> Iterable[str]:
    for index, name in enumerate(_NAMES):
        x = _LEFT + index % _LEGEND_COLUMNS * (_WIDTH - _LEFT - _RIGHT) // _LEGEND_COLUMNS
        y = top + index // _LEGEND_COLUMNS * _LEGEND_ROW
        yield f'<circle cx="{x + 4}" cy="{y - 4}" r="4" fill="{_COLOURS[index]}"/>'
        yield _text(x + 14, y, name)


def _axis(base: float, height: float, most: float, name: str) -> Iterable[str]:
    yield f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{base}" y2="{base}" stroke="#333"/>'
    yield _text(_LEFT, base - height - 6, name, colour="#333")
    for share in (0, 0.5, 1):
        y = base - height * share
        yield _text(
            _LEFT - 6, y + 4, f"{most * share:.0f}" if most > 4 else f"{most * share:.1f}", anchor="end", colour="#555"
        )


def _text(x: float, y: float, text: str, *, size: int = 12, anchor: str = "start", colour: str = "black") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'
    )


def _x(at: float, seconds: float) -> float:
    return _LEFT + at / seconds * (_WIDTH - _LEFT - _RIGHT)


def _family(kind: str) -> int:
    for index, prefixes in enumerate(_FAMILIES):
        if kind.startswith(prefixes):
            return index
    return len(_FAMILIES)


def _round_step(seconds: float) -> int:
    return next((step for step in (5, 10, 30, 60, 120, 300, 600, 1800) if seconds / step <= 12), 3600)
