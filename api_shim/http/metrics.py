"""What this process counts, for Prometheus. Labels come from fixed sets only: nothing a caller sends names a series."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from contract.codes import Code

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0)
_KNOWN_CODES: Final = frozenset(map(int, Code))


class Metrics:
    """The series of one application object, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "bksi_http_requests", "Answered HTTP requests", ("route", "status", "code"), registry=self.registry
        )
        self._seconds = Histogram(
            "bksi_http_request_seconds", "From headers to answer", ("route",), buckets=_SECONDS, registry=self.registry
        )
        self.open_waits = Gauge("bksi_http_open_waits", "Callers kept waiting for an end", registry=self.registry)
        self.pending = Gauge("bksi_pending_requests", "Accepted and unfinished requests", registry=self.registry)
        self.dead_letters = Gauge(
            "bksi_dead_letters", "Messages and requests that were set aside and not sent again", registry=self.registry
        )
        self.parked = Gauge(
            "bksi_parked_messages", "Messages that wait beside the queue for a newer worker", registry=self.registry
        )
        self.workers = Gauge(
            "bksi_workers",
            "Worker processes seen lately; paused: they take no requests, for PostgreSQL fails every one",
            ("state",),
            registry=self.registry,
        )

    def answered(self, route: str, status: int, code: int, seconds: float) -> None:
        """Count one answer. `route` is a path template, or ``other``."""
        self._requests.labels(route, str(status), str(code) if code in _KNOWN_CODES else "other").inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """The text exposition format."""
        return generate_latest(self.registry)
