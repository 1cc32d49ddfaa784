"""Write docs/metrics.md from where each side declares what it counts.

python -m docs.metrics_page          # write the page
python -m docs.metrics_page --check  # exit 1 when it is out of date
"""

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from prometheus_client.metrics import MetricWrapperBase

from api_shim.http.metrics import Metrics
from docs.generated_page import write_or_check
from worker import metrics as worker

PAGE: Final = Path(__file__).with_name("metrics.md")
HEAD: Final = """\
# Metrics

Made from `api_shim/http/metrics.py` and `worker/metrics.py` by `python -m docs.metrics_page`; a test fails when they
disagree. Each process also has Prometheus' usual `process_…` (CPU, memory, open files).

A server serves `/metrics` on its own port, a worker on `BKSI_METRICS_PORT` of `BKSI_HTTP_HOST`; unset, it serves none.
Several workers of one machine need a port each; one whose port is in use says so in its log and works on without.
Neither asks for a password: keep them inside.

Requests and groups are counted, never instances one by one, so that counting costs nothing that can be measured.
`app` is an application's code, for the first 50 that a process meets; later ones are `other`. `code` is a code of the
envelope, 0 for success. What a gauge cannot tell, because Redis or PostgreSQL is away, is `NaN`.

What to alert on: `deploy/prometheus/alerts.yml`. What to look at: `deploy/grafana/bksi.json`.
"""


def render() -> str:
    """The page."""
    server = vars(Metrics()).values()
    return (
        HEAD
        + _section("Server", "Every server says the same of the queue, the pending requests and the workers.", server)
        + _section("Worker", "Each worker counts what it does itself; sum them.", vars(worker).values())
    )


def _section(title: str, said: str, values: Iterable[object]) -> str:
    rows = "".join(map(_row, (value for value in values if isinstance(value, MetricWrapperBase))))
    return f"\n## {title}\n\n{said}\n\n| metric | type | labels | what it is |\n|---|---|---|---|\n{rows}"


def _row(metric: MetricWrapperBase) -> str:
    [described] = metric.describe()
    suffix = "_total" if described.type == "counter" else ""
    labels = " ".join(f"`{name}`" for name in _labels(metric))
    return f"| `{described.name}{suffix}` | {described.type} | {labels} | {described.documentation} |\n"


def _labels(metric: MetricWrapperBase) -> Iterable[str]:
    attributes: Mapping[str, Any] = vars(metric)
    return tuple(attributes["_labelnames"])


def main(arguments: list[str]) -> int:
    """Write the page, or compare it."""
    return write_or_check(PAGE, render(), arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
