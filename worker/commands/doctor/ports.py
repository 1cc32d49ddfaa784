"""The ports that processes of one machine listen at: whether two share one, and whether a worker is to be counted."""

from collections import defaultdict
from typing import Final

import httpx2

from contract.settings import Settings
from worker.commands.doctor.finding import Finding, error, ok, skipped, warning

_TIMEOUT_S: Final = 5.0
_PORTS: Final = ("http_port", "read_port", "metrics_port")
_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - where one who listens everywhere is found


def examine_ports(settings: Settings) -> Finding:
    """Whether the settings give two processes the same port."""
    names = defaultdict(list)
    for name in _PORTS:
        if (port := getattr(settings, name)) is not None:
            names[port].append(f"BKSI_{name.upper()}")
    for port, sharers in names.items():
        if len(sharers) > 1:
            mend = "Give each a port of its own: on one machine only the first to start gets it."
            return error("ports", f"{' and '.join(sharers)} are both {port}", mend)
    return ok("ports", "each process has its own")


async def examine_metrics(settings: Settings) -> Finding:
    """Ask a worker of this machine what Prometheus asks."""
    if settings.metrics_port is None:
        return skipped("metrics", "workers serve none", "Set BKSI_METRICS_PORT; docs/metrics.md says what they count.")
    url = f"http://{_ANY.get(settings.http_host, settings.http_host)}:{settings.metrics_port}/metrics"
    try:
        async with httpx2.AsyncClient(timeout=_TIMEOUT_S, trust_env=False) as http:
            answer = await http.get(url)
    except (httpx2.HTTPError, httpx2.InvalidURL) as failure:
        mend = "Start a worker here with these settings; its log says if the port was in use."
        return warning("metrics", f"{url}: {type(failure).__name__}", mend)
    if "bksi_requests_in_hand" not in answer.text:
        return warning("metrics", f"{url} answers, and is no worker", "Set BKSI_METRICS_PORT to a port that is free.")
    return ok("metrics", f"a worker answers at {url}")
