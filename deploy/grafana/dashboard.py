"""Write bksi.json, the dashboard, from the panels below.

python -m deploy.grafana.dashboard          # write it
python -m deploy.grafana.dashboard --check  # exit 1 when it is out of date
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from docs.generated_page import write_or_check

FILE: Final = Path(__file__).with_name("bksi.json")
_COLUMNS, _HEIGHT, _STAT_HEIGHT = 24, 8, 4
_SOURCE: Final = {"type": "prometheus", "uid": "${source}"}


class Panel(NamedTuple):
    """One panel: what it shows, by legend, and in which unit of Grafana's."""

    title: str
    queries: Mapping[str, str]
    unit: str = "short"
    kind: str = "timeseries"


def _rate(metric: str, by: str, only: str = "") -> str:
    return f"sum by ({by}) (rate({metric}{only}[$__rate_interval]))"


def _quantile(share: float, metric: str, by: str = "le") -> str:
    return f"histogram_quantile({share}, sum by ({by}) (rate({metric}_bucket[$__rate_interval])))"


def _mean(metric: str) -> str:
    return f"sum(rate({metric}_sum[$__rate_interval])) / sum(rate({metric}_count[$__rate_interval]))"


STATS: Final = (
    Panel("Unfinished", {"requests": "max(bksi_pending_requests)"}),
    Panel("Next message waits for", {"age": "max(bksi_queue_oldest_seconds)"}, "s"),
    Panel("Oldest unfinished", {"age": "max(bksi_pending_oldest_seconds)"}, "s"),
    Panel("Workers", {"working": 'max(bksi_workers{state="working"})', "paused": 'max(bksi_workers{state="paused"})'}),
    Panel("Dead letters", {"letters": "max(bksi_dead_letters)"}),
    Panel("Rows a second", {"rows": "sum(rate(bksi_rows_written_total[$__rate_interval]))"}),
)
PANELS: Final = (
    Panel(
        "Accepted, answered again and refused, a second",
        {
            "{{kind}}": _rate("bksi_requests_submitted_total", "kind"),
            "replayed": "sum(rate(bksi_requests_replayed_total[$__rate_interval]))",
            "refused {{code}}": _rate("bksi_requests_refused_total", "code"),
        },
        "reqps",
    ),
    Panel(
        "Ended, a second",
        {
            "{{status}}": _rate("bksi_requests_ended_total", "status"),
            "code {{code}}": _rate("bksi_requests_ended_total", "code", '{code!="0"}'),
        },
        "reqps",
    ),
    Panel(
        "What waits",
        {
            "unfinished": "max(bksi_pending_requests)",
            "queue, priority {{priority}}": "max by (priority) (bksi_queue_messages)",
            "parked": "max(bksi_parked_messages)",
        },
    ),
    Panel(
        "For how long",
        {"next message": "max(bksi_queue_oldest_seconds)", "oldest unfinished": "max(bksi_pending_oldest_seconds)"},
        "s",
    ),
    Panel(
        "From accepted to ended",
        {
            "half": _quantile(0.5, "bksi_request_seconds"),
            "95 %": _quantile(0.95, "bksi_request_seconds"),
            "99 %": _quantile(0.99, "bksi_request_seconds"),
        },
        "s",
    ),
    Panel(
        "Of it waiting and running, 95 %",
        {
            "waiting, {{lane}}": _quantile(0.95, "bksi_request_wait_seconds", "le, lane"),
            "running, {{lane}}": _quantile(0.95, "bksi_request_run_seconds", "le, lane"),
        },
        "s",
    ),
    Panel(
        "In the workers' hands",
        {
            "{{lane}}, {{state}}": "sum by (lane, state) (bksi_requests_in_hand)",
            "at most": "sum(bksi_requests_in_hand_max)",
        },
    ),
    Panel("Instances a second", {"{{outcome}}": _rate("bksi_instances_ended_total", "outcome")}, "ops"),
    Panel("Failed instances a second", {"{{code}}": _rate("bksi_instances_ended_total", "code", '{code!="0"}')}, "ops"),
    Panel(
        "Done together, on average",
        {
            "requests a write": _mean("bksi_write_group_requests"),
            "requests a lease": _mean("bksi_lease_group_requests"),
            "messages a turn": "sum(rate(bksi_messages_taken_total[$__rate_interval]))"
            " / sum(rate(bksi_queue_turns_total[$__rate_interval]))",
        },
    ),
    Panel("Rows a second", {"{{instance}}": _rate("bksi_rows_written_total", "instance")}, "ops"),
    Panel(
        "Round trips a second",
        {
            "PostgreSQL": "sum(rate(bksi_postgres_call_seconds_count[$__rate_interval]))",
            "Redis, {{job}}": _rate("bksi_redis_call_seconds_count", "job"),
            "queue": "sum(rate(bksi_queue_turns_total[$__rate_interval]))",
        },
        "ops",
    ),
    Panel(
        "Round trip, 95 %",
        {
            "PostgreSQL": _quantile(0.95, "bksi_postgres_call_seconds"),
            "Redis, {{job}}": _quantile(0.95, "bksi_redis_call_seconds", "le, job"),
        },
        "s",
    ),
    Panel("Messages taken, by what was found", {"{{state}}": _rate("bksi_leases_total", "state")}, "ops"),
    Panel(
        "Started again, handed back, sent again",
        {
            "started again": "sum(rate(bksi_requests_restarted_total[$__rate_interval]))",
            "handed back": "sum(rate(bksi_requests_handed_back_total[$__rate_interval])) or vector(0)",
            "sent again by the reaper": "sum(rate(bksi_reaper_resent_total[$__rate_interval]))",
            "ended by the reaper": "sum(rate(bksi_reaper_ended_total[$__rate_interval]))",
            "had ended before": "sum(rate(bksi_requests_decided_before_total[$__rate_interval]))",
        },
        "ops",
    ),
    Panel(
        "Dead letters",
        {
            "there now": "max(bksi_dead_letters)",
            "{{reason}}, in 15 minutes": "sum by (reason) (increase(bksi_dead_letters_written_total[15m]))",
        },
    ),
    Panel(
        "Since a worker's last sign of life",
        {
            "heartbeat, {{instance}}": "time() - bksi_worker_heartbeat_timestamp_seconds",
            "sweep": "time() - max(bksi_reaper_swept_timestamp_seconds)",
        },
        "s",
    ),
    Panel("Paused workers", {"{{instance}}": "bksi_worker_paused"}),
    Panel("Catalogue's age", {"age": "time() - max(bksi_catalogue_changed_timestamp_seconds)"}, "s"),
    Panel("Catalogue's version", {"version": "max(bksi_catalogue_version)"}),
    Panel("HTTP answers a second", {"{{status}}": _rate("bksi_http_requests_total", "status")}, "reqps"),
    Panel(
        "HTTP, 95 %, waiting for an end included",
        {"{{route}}": _quantile(0.95, "bksi_http_request_seconds", "le, route")},
        "s",
    ),
    Panel("Callers kept waiting", {"callers": "sum(bksi_http_open_waits)"}),
    Panel("By application, a second", {"{{app}}": _rate("bksi_requests_submitted_total", "app")}, "reqps"),
    Panel(
        "Cores in use",
        {"{{job}} {{instance}}": 'rate(process_cpu_seconds_total{job=~"bksi-.*"}[$__rate_interval])'},
    ),
    Panel("Memory", {"{{job}} {{instance}}": 'process_resident_memory_bytes{job=~"bksi-.*"}'}, "bytes"),
)


def render() -> str:
    """The dashboard as Grafana imports it."""
    width = _COLUMNS // len(STATS)
    stats = [
        _panel(number, panel._replace(kind="stat"), (number * width, 0, width, _STAT_HEIGHT))
        for number, panel in enumerate(STATS)
    ]
    half = _COLUMNS // 2
    rest = [
        _panel(len(STATS) + number, panel, (number % 2 * half, _STAT_HEIGHT + number // 2 * _HEIGHT, half, _HEIGHT))
        for number, panel in enumerate(PANELS)
    ]
    return json.dumps(_dashboard([*stats, *rest]), indent=1) + "\n"


def _dashboard(panels: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    source = {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    return {
        "uid": "bksi",
        "title": "bksi",
        "tags": ["bksi"],
        "timezone": "browser",
        "schemaVersion": 39,
        "refresh": "15s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [source]},
        "panels": list(panels),
    }


def _panel(number: int, panel: Panel, place: tuple[int, int, int, int]) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + index), "expr": expression, "legendFormat": legend, "datasource": _SOURCE}
        for index, (legend, expression) in enumerate(panel.queries.items())
    ]
    return {
        "id": number + 1,
        "title": panel.title,
        "type": panel.kind,
        "datasource": _SOURCE,
        "gridPos": dict(zip("xywh", place, strict=True)),
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "targets": targets,
    }


def main(arguments: list[str]) -> int:
    """Write the dashboard, or compare it."""
    return write_or_check(FILE, render(), arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
