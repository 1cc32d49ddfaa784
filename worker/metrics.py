"""What a worker process counts, for Prometheus: every metric of this side is declared here. docs/metrics.md lists them.

They are counted by request or by group, never by instance. Labels come from fixed sets, but for the names of
applications, which are bounded.
"""

from collections import Counter as Tally
from collections.abc import Mapping
from functools import cache, partial
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics

from contract.answer.report import Report
from contract.answer.status import Outcome
from contract.codes import Code
from plumbing.bounded import BoundedNames

disable_created_metrics()  # type: ignore[no-untyped-call] # a second series for each, which nothing here asks for
REGISTRY: Final = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

_counter: Final = partial(Counter, registry=REGISTRY)
_gauge: Final = partial(Gauge, registry=REGISTRY)
_histogram: Final = partial(Histogram, registry=REGISTRY)

_REQUEST_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0)
_CALL_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
_GROUP: Final = (1, 2, 4, 8, 16, 32, 64, 100)
_SMALL: Final = 10

ENDED: Final = _counter("bksi_requests_ended", "Requests that ended here, dry runs too", ("app", "status", "code"))
INSTANCES: Final = _counter(
    "bksi_instances_ended",
    "Instances of the requests that ended here, without dry runs; code: of one that failed, else 0",
    ("outcome", "code"),
)
WAIT_SECONDS: Final = _histogram(
    "bksi_request_wait_seconds",
    "From accepted to the start that ended the request",
    ("lane",),
    buckets=_REQUEST_SECONDS,
)
RUN_SECONDS: Final = _histogram(
    "bksi_request_run_seconds", "From the start that ended the request to its end", ("lane",), buckets=_REQUEST_SECONDS
)
TOTAL_SECONDS: Final = _histogram("bksi_request_seconds", "From accepted to ended", ("lane",), buckets=_REQUEST_SECONDS)
LEASES: Final = _counter("bksi_leases", "What was found when a message was taken; leased: an attempt began", ("state",))
RESTARTS: Final = _counter("bksi_requests_restarted", "Attempts that were not a request's first")
HANDED_BACK: Final = _counter(
    "bksi_requests_handed_back", "Attempts given back to the queue, by what stopped them", ("error",)
)
DECIDED_BEFORE: Final = _counter(
    "bksi_requests_decided_before", "Attempts that found their request ended in the ledger"
)
DEAD_LETTERS: Final = _counter(
    "bksi_dead_letters_written",
    "Dead letters; given up: a request started too often; not taken: a direct message nobody could take; unfit: a"
    " message no task may see; no list: a queue's key of another type; parked too long: no newer worker came",
    ("reason",),
)
for _reason in ("given up", "not taken", "unfit", "no list", "parked too long"):
    DEAD_LETTERS.labels(_reason)  # from 0: Prometheus sees no increase in a series that begins at 1
ROWS: Final = _counter("bksi_rows_written", "Instances, processes and bind rows inserted")
WRITE_GROUP: Final = _histogram("bksi_write_group_requests", "Requests written together", buckets=_GROUP)
LEASE_GROUP: Final = _histogram("bksi_lease_group_requests", "Requests leased together", buckets=_GROUP)
TURNS: Final = _counter("bksi_queue_turns", "Round trips of the consumer that take and acknowledge")
TAKEN: Final = _counter("bksi_messages_taken", "Messages taken from the queue")
REDIS_SECONDS: Final = _histogram(
    "bksi_redis_call_seconds",
    "Round trips to the Redis of the requests, each of any number of commands",
    buckets=_CALL_SECONDS,
)
POSTGRES_SECONDS: Final = _histogram(
    "bksi_postgres_call_seconds", "Statements run by PostgreSQL", buckets=_CALL_SECONDS
)
RESENT: Final = _counter("bksi_reaper_resent", "Requests without an owner that the reaper sent again")
REAPED: Final = _counter("bksi_reaper_ended", "Requests past their deadline that the reaper ended")
DELIVERIES: Final = _counter(
    "bksi_deliveries",
    "Ends of deliveries to CMDB, and of rounds that CMDB put off: delivered, failed, dropped, put off",
    ("outcome",),
)
for _outcome in ("delivered", "failed", "dropped", "put off"):
    DELIVERIES.labels(_outcome)
SWEPT: Final = _gauge("bksi_reaper_swept_timestamp_seconds", "When the reaper last went through all that is pending")
# Read when somebody asks; `worker.serve_metrics` says from where.
IN_HAND: Final = _gauge(
    "bksi_requests_in_hand",
    "Leased requests; large ones (over 10 instances) wait for one of BKSI_FULL_BATCHES_AT_ONCE places",
    ("lane", "state"),
)
CAPACITY: Final = _gauge("bksi_requests_in_hand_max", "BKSI_WORKER_CONCURRENCY")
PAUSED: Final = _gauge("bksi_worker_paused", "1 while nothing is taken, for PostgreSQL fails every request")
HEARTBEAT: Final = _gauge(
    "bksi_worker_heartbeat_timestamp_seconds", "When this worker last extended its leases in Redis"
)
CATALOGUE_VERSION: Final = _gauge("bksi_catalogue_version", "Version of the catalogue in PostgreSQL")
CATALOGUE_CHANGED: Final = _gauge("bksi_catalogue_changed_timestamp_seconds", "When the catalogue was last changed")
DELIVERY_BACKLOG: Final = _gauge(
    "bksi_delivery_backlog", "Requests in the outbox to CMDB: pending, failed", ("status",)
)
DELIVERY_OLDEST: Final = _gauge(
    "bksi_delivery_oldest_seconds", "How long the oldest pending delivery to CMDB has waited"
)

_application: Final = BoundedNames(50)


class _Lane(NamedTuple):
    """The times of one lane."""

    total: Histogram
    run: Histogram
    wait: Histogram


_LANES: Final = {
    lane: _Lane(TOTAL_SECONDS.labels(lane), RUN_SECONDS.labels(lane), WAIT_SECONDS.labels(lane))
    for lane in ("small", "large")
}
# Finding the series by its labels takes longer than counting in it.
_ended: Final = cache(ENDED.labels)
_instances: Final = cache(INSTANCES.labels)


def lane_of(instances: int) -> str:
    """``small`` requests never wait for ``large`` ones."""
    return "small" if instances <= _SMALL else "large"


def request_ended(report: Report, outcomes: Mapping[Outcome, int], total: float, run: float | None) -> None:
    """Count one end.

    Args:
        report: how it ended.
        outcomes: how many of its instances ended so.
        total: seconds since it was accepted.
        run: seconds since its last attempt began; None where none had.
    """
    if report.code == Code.DEAD_LETTER:
        DEAD_LETTERS.labels("given up").inc()
    _ended(_application(report.bk_app_code), report.status.value, int(report.code)).inc()
    if report.preview is None:
        _count_instances(report, outcomes)
    lane = _LANES[lane_of(report.statistics.total_count)]
    lane.total.observe(total)
    if run is not None:
        lane.run.observe(run)
        lane.wait.observe(total - run)


def _count_instances(report: Report, outcomes: Mapping[Outcome, int]) -> None:
    for outcome, count in outcomes.items():
        if outcome is not Outcome.FAILED:
            _instances(outcome.value, 0).inc(count)
    if Outcome.FAILED in outcomes:
        codes = Tally(item.get("code", 0) for item in report.items if item["outcome"] is Outcome.FAILED)
        for code, count in codes.items():
            _instances(Outcome.FAILED.value, code).inc(count)
