"""What this process counts, for Prometheus: every metric of this side is declared here. docs/metrics.md lists them.

Labels come from fixed sets only, but for the names of applications that were let in, which are bounded: nothing else
that a caller sends names a series.
"""

import math
from contextlib import suppress
from functools import partial
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from api_shim.refusals import BrokerUnavailable
from api_shim.submitter import Submitter
from contract.codes import Code, Refused
from contract.request.parse import BatchRefused
from plumbing.bounded import BoundedNames

disable_created_metrics()  # type: ignore[no-untyped-call] # a second series for each, which nothing here asks for
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0)
_CALL_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
_KNOWN_CODES: Final = frozenset(map(int, Code))
_APPLICATIONS: Final = 50


class Metrics:
    """The series of one application object, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        counter, gauge = partial(Counter, registry=self.registry), partial(Gauge, registry=self.registry)
        histogram = partial(Histogram, registry=self.registry)
        self._application = BoundedNames(_APPLICATIONS)
        self._requests = counter("bksi_http_requests", "Answered HTTP requests", ("route", "status", "code"))
        self._seconds = histogram("bksi_http_request_seconds", "From headers to answer", ("route",), buckets=_SECONDS)
        self.open_waits = gauge("bksi_http_open_waits", "Callers kept waiting for an end")
        self._submitted = counter(
            "bksi_requests_submitted",
            "Requests accepted, by kind: create, validate (a dry run), job (a batch of one), retry",
            ("app", "kind"),
        )
        self._replayed = counter(
            "bksi_requests_replayed",
            "Submits that an earlier request answers for, under the same idempotency key or body",
            ("app",),
        )
        self._refused = counter("bksi_requests_refused", "Submits refused before anything was queued", ("app", "code"))
        self.redis_seconds = histogram(
            "bksi_redis_call_seconds",
            "Round trips to the Redis of the requests, each of any number of commands",
            buckets=_CALL_SECONDS,
        )
        self.pending = gauge("bksi_pending_requests", "Accepted and unfinished requests")
        self.oldest_pending = gauge(
            "bksi_pending_oldest_seconds",
            "Since that unfinished request was last put into the queue for which that is longest ago",
        )
        self.queue = gauge(
            "bksi_queue_messages",
            "Messages that no worker has taken, by priority; not a number where the queue is not on Redis",
            ("priority",),
        )
        self.oldest_waiting = gauge(
            "bksi_queue_oldest_seconds",
            "How long the message has waited that is taken next; not a number where that cannot be told",
        )
        self.dead_letters = gauge("bksi_dead_letters", "Messages and requests that were set aside and not sent again")
        self.parked = gauge("bksi_parked_messages", "Messages that wait beside the queue for a newer worker")
        self.workers = gauge(
            "bksi_workers",
            "Worker processes seen lately; paused: they take no requests, for PostgreSQL fails every one",
            ("state",),
        )

    def answered(self, route: str, status: int, code: int, seconds: float) -> None:
        """Count one answer. `route` is a path template, or ``other``."""
        self._requests.labels(route, str(status), str(code) if code in _KNOWN_CODES else "other").inc()
        self._seconds.labels(route).observe(seconds)

    def submitted(self, bk_app_code: str, kind: str, *, replayed: bool = False) -> None:
        """Count one request that was accepted, or had been."""
        app = self._application(bk_app_code)
        if replayed:
            self._replayed.labels(app).inc()
        else:
            self._submitted.labels(app, kind).inc()

    def refused(self, bk_app_code: str, refused: Refused | BatchRefused) -> None:
        """Count one that was not; an unknown application has no name."""
        code = refused.errors[0].code if isinstance(refused, BatchRefused) else refused.code
        self._refused.labels(self._application(bk_app_code), str(int(code))).inc()

    async def look(self, submitter: Submitter) -> None:
        """Read what is not counted but looked at, in Redis; it is not a number while that is away."""
        for gauge in (self.pending, self.oldest_pending, self.oldest_waiting, self.dead_letters, self.parked):
            gauge.set(math.nan)
        for labelled in (self.queue, self.workers):
            labelled.clear()
        with suppress(BrokerUnavailable):
            self.pending.set(await submitter.backlog.count())
            workers = await submitter.health.workers()
            self.workers.labels("working").set(workers.alive - len(workers.paused))
            self.workers.labels("paused").set(len(workers.paused))
            waiting = await submitter.health.waiting()
            self.oldest_pending.set(waiting.oldest_pending_s)
            self.oldest_waiting.set(waiting.oldest_message_s)
            self.dead_letters.set(waiting.dead_letters)
            self.parked.set(waiting.parked)
            for priority, messages in waiting.messages.items():
                self.queue.labels(priority).set(messages)

    def text(self) -> bytes:
        """The text exposition format."""
        return generate_latest(self.registry)
