"""``/metrics`` of a worker process, from a thread of its own: it answers also while the event loop does not run."""

import math
import threading
from collections import Counter
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING, Final

import structlog
from prometheus_client import MetricsHandler

from worker import metrics
from worker.postgres.catalogue_reads import read_version
from worker.postgres.errors import DatabaseError

if TYPE_CHECKING:
    from worker.runtime import Runtime

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
        version, changed_at = self._catalogue()
        metrics.CATALOGUE_VERSION.set(version)
        metrics.CATALOGUE_CHANGED.set(changed_at)

    def _catalogue(self) -> tuple[float, float]:
        try:
            return self._runtime.run(read_version(self._runtime.spare), timeout=_READ_TIMEOUT_S)
        except (DatabaseError, TimeoutError):
            return math.nan, math.nan


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
