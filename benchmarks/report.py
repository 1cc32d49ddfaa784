"""What a session found: medians, spreads and ratios, as JSON and as tables."""

import json
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import psutil
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.measure import median_and_range
from benchmarks.peers import PEERS
from benchmarks.session import POSTGRES_SETTINGS, USUAL_REDIS, Session

RESULTS: Final = Path(__file__).parent / "results"
_PACKAGES: Final = (
    *("celery", "kombu", "redis", "hiredis", "asyncpg", "sqlalchemy", "pydantic", "uvloop", "granian"),
    *("taskiq", "taskiq-redis", "streaq", "dramatiq", "fastapi", "uvicorn", "psycopg"),
)
_COLUMNS: Final[Mapping[str, str]] = {
    "requests_per_s": "req/s",
    "rows_per_s": "rows/s",
    "worker_cpu_s": "worker CPU s",
    "client_cpu_s": "client CPU s",
    "postgres_cpu_s": "PostgreSQL CPU s",
    "redis_cpu_s": "Redis CPU s",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "peak_memory_mib": "peak MiB",
}
_RATIOS: Final = {"requests_per_s": "req/s", "p50_ms": "p50", "worker_cpu_s": "worker CPU"}


def document(runs: Sequence[Mapping[str, Any]], session: Session) -> dict[str, Any]:
    """Everything worth keeping: the runs, what they come to, and on what they were made."""
    return {
        "when": datetime.now(tz=UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions() | {"postgresql": session.sql("SHOW server_version")[0][0]},
        "postgres_settings": POSTGRES_SETTINGS,
        "peers_redis_settings": USUAL_REDIS,
        "summary": summary(runs),
        "ratios": ratios(runs),
        "runs": list(runs),
    }


def keep(found: Mapping[str, Any], out: str | None, name: str) -> None:
    """Write a result down with what it was made on, and say where."""
    document = {**found, "machine": machine(), "versions": versions()}
    print(f"written to {write(document, out, name)}", file=sys.stderr)


def machine() -> dict[str, Any]:
    """What it ran on."""
    model = next(
        (line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")), platform.machine()
    )
    return {
        "cpu": model,
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_average": psutil.getloadavg(),
    }


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def versions() -> dict[str, str]:
    """The installed versions of what is compared."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def summary(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each shape and system: median, least and greatest of every number over the rounds."""
    found = []
    for shape in _in_order(run["shape"] for run in runs):
        for system in _systems(runs):
            its = [run for run in runs if (run["shape"], run["system"]) == (shape, system)]
            if its:
                numbers = {name: median_and_range([run[name] for run in its]) for name in _COLUMNS if name in its[0]}
                found.append({"shape": shape, "system": system, "rounds": len(its)} | numbers)
    return found


def ratios(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Ours divided by each other system, round by round: median, least and greatest."""
    by_place = {(run["shape"], run["system"], run["round"]): run for run in runs}
    rounds = _in_order(run["round"] for run in runs)
    found = []
    for shape in _in_order(run["shape"] for run in runs):
        for system in _systems(runs):
            pairs = [
                (by_place[shape, "ours", number], by_place[shape, system, number])
                for number in rounds
                if {(shape, "ours", number), (shape, system, number)} <= by_place.keys()
            ]
            if system == "ours" or not pairs:
                continue
            numbers = {
                name: median_and_range([ours[name] / its[name] for ours, its in pairs])
                for name in _RATIOS
                if all(name in ours and its.get(name) for ours, its in pairs)
            }
            found.append({"shape": shape, "against": system} | numbers)
    return found


def _in_order(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(values))


def _systems(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    measured = {run["system"] for run in runs}
    return [name for name in PEERS if name in measured]


def show(found: Mapping[str, Any]) -> None:
    """Print the tables. CPU seconds are per 1,000 requests; every cell is a median, in brackets the spread."""
    console = Console(width=None if Console().is_terminal else 200)
    for shape in _in_order(row["shape"] for row in found["summary"]):
        rows = [row for row in found["summary"] if row["shape"] == shape]
        columns = {name: title for name, title in _COLUMNS.items() if any(name in row for row in rows)}
        table = Table(title=f"{shape} (CPU seconds per 1,000 requests)", box=box.SIMPLE)
        _fill(table, ("system",), columns, rows)
        console.print(table)
    if found["ratios"]:
        table = Table(title="ours / theirs, round by round: median (least … greatest)", box=box.SIMPLE)
        _fill(table, ("shape", "against"), _RATIOS, found["ratios"])
        console.print(table)


def _fill(table: Table, keys: Sequence[str], columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> None:
    for key in keys:
        table.add_column(key)
    for title in columns.values():
        table.add_column(title, justify="right")
    for row in rows:
        table.add_row(*(row[key] for key in keys), *(_cell(row[name]) if name in row else "" for name in columns))


def _cell(numbers: Sequence[float]) -> str:
    median, least, greatest = map(_number, numbers)
    return median if least == greatest else f"{median} ({least}…{greatest})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def write(found: Mapping[str, Any], out: str | Path | None, name: str = "compare") -> Path:
    """Write the JSON, by default as ``results/DATE-TIME-NAME.json``; where it is."""
    path = Path(out) if out else RESULTS / f"{datetime.now(tz=UTC):%Y-%m-%dT%H%M%S}-{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n")
    return path
