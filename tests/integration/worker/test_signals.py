"""What a tracing library sees of requests that run at the same time: Celery's signals, each with its own request."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from contract.message import new_request_id
from devstack.process import Guard
from devstack.running import BKSI
from devstack.servers import Valkey
from tests.integration.live import APP, LiveWorker, batch

# Importing it would make a worker of this process.
WITH_RECEIVERS = (*(sys.executable, "-m", "celery", "-A", "tests.integration.worker.traced"), "worker", "-E")
INSTRUMENTED = (BKSI.with_name("opentelemetry-instrument"), BKSI, "worker")

Start = Callable[..., AbstractContextManager[LiveWorker]]


@pytest.fixture
def start(
    guard: Guard,
    clone_database: Callable[[str], str],
    catalogue_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Start]:
    with Valkey(tmp_path_factory.mktemp("redis"), guard) as valkey:
        servers = {"BKSI_REDIS_URL": valkey.url, "BKSI_POSTGRES_DSN": clone_database(catalogue_template)}

        @contextmanager
        def start(command: Sequence[str | Path], **environment: str) -> Iterator[LiveWorker]:
            with LiveWorker(servers | environment, tmp_path_factory.mktemp("worker"), guard, command) as worker:
                yield worker

        yield start


def traceparent(request_id: str) -> str:
    """Of a caller whose trace has the request's id, and whose span has the first half of it."""
    return f"00-{request_id}-{request_id[:16]}-01"


def test_signals_of_requests_that_run_together_come_with_their_own_traces(start: Start) -> None:
    def notes() -> list[list[Any]]:
        return [json.loads(note) for note in worker.redis.lrange("notes", 0, -1)]

    hosts = {new_request_id(): host for host in (*range(1, 20), 10**9)}  # nobody has the last one
    with start(WITH_RECEIVERS) as worker:
        for request_id, host in hosts.items():
            worker.send(host, request_id=request_id, headers={"traceparent": traceparent(request_id)})
        results = {request_id: worker.report(request_id)["result"] for request_id in hosts}
        worker.wait_for(lambda: len(notes()) == 3 * len(hosts), "the end of every task")

        assert list(results.values()) == [True] * 19 + [False]
        for request_id, succeeded in results.items():
            assert [note for note in notes() if note[1] == request_id] == [
                [event, request_id, traceparent(request_id), True]
                for event in ("prerun", "success" if succeeded else "failure", "postrun")
            ]


def test_request_that_is_started_again_stays_in_its_trace(start: Start, tmp_path: Path) -> None:
    request_id = new_request_id()
    once = {"BKSI_FAILPOINTS": "before_write=raise:1", "BKSI_FAILPOINTS_DIR": str(tmp_path)}
    with start(WITH_RECEIVERS, **once) as worker:
        worker.send(1, request_id=request_id, headers={"traceparent": traceparent(request_id)})
        assert worker.report(request_id)["attempts"] == 2
        notes = [json.loads(note) for note in worker.redis.lrange("notes", 0, -1)]

    assert [note[2] for note in notes if note[0] == "prerun"] == [traceparent(request_id)] * 2


@pytest.mark.bad_input(108, "a value that nobody else may see, to a worker that makes spans", "in no span")
def test_instrumented_worker_makes_a_span_in_its_callers_trace_and_puts_no_argument_into_it(start: Start) -> None:
    exporters = {"OTEL_TRACES_EXPORTER": "console", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"}
    request_id = new_request_id()
    caller = {"bk_app_code": APP, "bk_username": "canary-of-the-caller"}
    with start(INSTRUMENTED, OTEL_BSP_SCHEDULE_DELAY="50", **exporters) as worker:
        kwargs = {"request_id": request_id, "batch": batch(1), "caller": caller}
        worker.send(1, request_id=request_id, kwargs=kwargs, headers={"traceparent": traceparent(request_id)})
        assert worker.report(request_id)["result"] is True

        log = worker.process.log
        worker.wait_for(lambda: f'"parent_id": "0x{request_id[:16]}"' in log.read_text(), "the span")

    spans = log.read_text()
    assert f'"trace_id": "0x{request_id}"' in spans
    assert "SpanKind.CONSUMER" in spans
    assert "canary-of-the-caller" not in spans
