"""``/metrics`` of a worker process, from a thread of its own: it answers also while the event loop does not run."""

import math
import threading
from collections import Counter
from collections.abc import Coroutine
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final, TypeVar

import structlog
from prometheus_client import MetricsHandler

from worker import metrics
from worker.postgres.catalogue_reads import read_version
from worker.postgres.deliveries import read_backlog
from worker.postgres.errors import DatabaseError

if TYPE_CHECKING:
    from worker.runtime import Runtime

T = TypeVar("T")
_log = structlog.get_logger(__name__)
_READ_TIMEOUT_S: Final = 1.0


class MetricsServer(ThreadingHTTPServer):
    """Serves until it is closed.

    Raises:
        OSError: the port is in use, or the address is none of this machine's.
    """

    daemon_threads = True

    def __init__(self, runtime: "Runtime", host: str, port: int) -> None:
        super().__init__((host, port), _Handler)
        self._runtime = runtime
        threading.Thread(target=self.serve_forever, name="bksi-metrics", daemon=True).start()

    def close(self) -> None:
        """Answer no more."""
        self.shutdown()
        self.server_close()

    def look(self) -> None:
        """Read what is not counted but looked at."""
        runtime = self._runtime
        lanes = Counter(metrics.lane_of(lease.count) for lease in tuple(runtime.held_leases.values()))
        places = runtime.settings.full_batches_at_once
        metrics.IN_HAND.labels("small", "running").set(lanes["small"])
        metrics.IN_HAND.labels("large", "running").set(min(lanes["large"], places))
        metrics.IN_HAND.labels("large", "waiting").set(max(lanes["large"] - places, 0))
        metrics.CAPACITY.set(runtime.settings.worker_concurrency)
        metrics.PAUSED.set(bool(runtime.intake.reason))
        metrics.HEARTBEAT.set(runtime.heartbeat_at)
        version, changed_at = self._ask(read_version(runtime.spare)) or (math.nan, math.nan)
        metrics.CATALOGUE_VERSION.set(version)
        metrics.CATALOGUE_CHANGED.set(changed_at)
        if runtime.settings.delivers:
            self._look_at_deliveries()

    def _look_at_deliveries(self) -> None:
        backlog = self._ask(read_backlog(self._runtime.spare)) or {}
        for status in ("pending", "failed"):
            metrics.DELIVERY_BACKLOG.labels(status).set(backlog.get(status, math.nan))
        metrics.DELIVERY_OLDEST.set(backlog.get("oldest_s", math.nan))

    def _ask(self, what: Coroutine[Any, Any, T]) -> T | None:
        """What PostgreSQL answers; None when it does not."""
        try:
            return self._runtime.run(what, timeout=_READ_TIMEOUT_S)
        except (DatabaseError, TimeoutError):
            return None


class _Handler(MetricsHandler):
    server: MetricsServer
    registry = metrics.REGISTRY
    timeout = 5

    def do_GET(self) -> None:  # noqa: N802 - the standard library's name
        self.server.look()
        super().do_GET()


def serve_metrics(runtime: "Runtime") -> MetricsServer | None:
    """Serve where the settings say. Metrics are no reason not to work: without a port it is said, and that is all."""
    settings = runtime.settings
    if settings.metrics_port is None:
        return None
    try:
        return MetricsServer(runtime, settings.http_host, settings.metrics_port)
    except OSError as error:
        address = f"{settings.http_host}:{settings.metrics_port}"
        _log.error("no /metrics: BKSI_METRICS_PORT", address=address, error=error.strerror or str(error))
        return None
