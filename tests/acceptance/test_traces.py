"""The spans that a real OTLP receiver is sent by a server and a worker."""

import asyncio
import gzip
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.acceptance.calls import bound
from tests.acceptance.pair import Pair

REQUESTS = 40
CANARY = "canary-of-the-caller"
ON_THE_WAY = {"POST /v1/batches", "submit", "run", "lease", "plan", "write", "publish"}
ATTRIBUTES = {"bksi.status", "bksi.code", "bksi.request_id", "bksi.requests"}


@dataclass
class Receiver:
    """What arrives, and the bytes of it."""

    url: str = ""
    spans: list[Any] = field(default_factory=list)
    services: set[str] = field(default_factory=set)
    raw: bytes = b""

    def take(self, body: bytes) -> None:
        self.raw += body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.services |= {
                one.value.string_value for one in resource.resource.attributes if one.key == "service.name"
            }
            self.spans += [span for scope in resource.scope_spans for span in scope.spans]


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    received = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.take(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        received.url = f"http://127.0.0.1:{server.server_port}"
        Thread(target=server.serve_forever, daemon=True).start()
        yield received
        server.shutdown()


@pytest.fixture(scope="module")
def trace_ids(receiver: Receiver, open_pair: Callable[..., AbstractContextManager[Pair]]) -> list[str]:
    """Of the callers of requests that were sent at the same time; all their spans have arrived."""
    with open_pair(OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url, OTEL_BSP_SCHEDULE_DELAY="50") as pair:
        ids = asyncio.run(_submit(pair.http))
        deadline = time.monotonic() + 60
        while sum(span.name == "publish" for span in receiver.spans) < REQUESTS:
            assert time.monotonic() < deadline, [span.name for span in receiver.spans]
            time.sleep(0.05)
    return ids


async def _submit(http: str) -> list[str]:
    async def one(client: httpx2.AsyncClient, host: int) -> str:
        trace_id = uuid.uuid4().hex
        headers = {"traceparent": f"00-{trace_id}-{trace_id[:16]}-01", "X-Request-Id": CANARY}
        body = bound(host, bk_username=CANARY, bk_app_secret=CANARY)
        (await client.post(f"{http}/v1/batches", json=body, headers=headers)).raise_for_status()
        return trace_id

    async with httpx2.AsyncClient(timeout=60) as client:
        return await asyncio.gather(*[one(client, host) for host in range(1, REQUESTS + 1)])


def test_a_request_is_one_trace_from_its_caller_to_its_report(receiver: Receiver, trace_ids: list[str]) -> None:
    spans = defaultdict(dict)
    for span in receiver.spans:
        spans[span.trace_id.hex()][span.name] = span
    for trace_id in trace_ids:
        found = spans[trace_id]
        assert found.keys() == ON_THE_WAY
        parents = {name: span.parent_span_id.hex() for name, span in found.items()}
        ids = {name: span.span_id.hex() for name, span in found.items()}
        assert parents["POST /v1/batches"] == trace_id[:16]
        assert parents["submit"] == ids["POST /v1/batches"]
        assert parents["run"] == ids["submit"]
        assert {parents[name] for name in ("lease", "plan", "write", "publish")} == {ids["run"]}
    assert receiver.services >= {"bksi-server", "bksi-worker"}


def test_requests_that_were_written_together_are_linked(receiver: Receiver, trace_ids: list[str]) -> None:
    together = [span for span in receiver.spans if span.name == "write together"]
    writes = {span.span_id: span for span in receiver.spans if span.name == "write"}
    assert len(writes) == sum(len(span.links) for span in together) == REQUESTS
    assert len(together) < REQUESTS
    for group in together:
        assert group.trace_id.hex() not in trace_ids
        for link in group.links:
            assert writes[link.span_id].trace_id == link.trace_id
            assert [back.span_id for back in writes[link.span_id].links] == [group.span_id]


def test_nothing_of_a_caller_is_in_a_span(receiver: Receiver, trace_ids: list[str]) -> None:
    assert len(trace_ids) == REQUESTS
    assert CANARY.encode() not in receiver.raw
    assert {one.key for span in receiver.spans for one in span.attributes} <= ATTRIBUTES
    assert not any(span.events for span in receiver.spans)
