"""What a calling service imports: submit a batch, wait for it, read its outcome. Needs httpx2 and stamina only.

    with Client("http://127.0.0.1:8080", bk_app_code="my_app", bk_app_secret=secret) as client:
        operation = client.submit({"bk_biz_id": 1, "bk_module_id": 60, "instances": [{"bk_host_id": 2}]})
        ids = operation.result(timeout=60)["data"]

`AsyncClient` and `AsyncOperation` mirror `Client` and `Operation`. A key is set before the first try, so a submit that
is repeated after a lost answer is the same request; every error carries it.
"""

import json
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Final, Self

import httpx2
import stamina

from contract.batch import MAX_INSTANCES

Json = dict[str, Any]
FINAL_STATUSES: Final = frozenset({"SUCCESS", "FAILED", "PART_FAILED", "TERMINATED"})
_ESB_PATH: Final = "/api/c/compapi/v2/cc/create_service_instance/"
_LONGEST_POLL_S: Final = 20
_TRIES: Final = 5
_LOST: Final = (httpx2.TransportError,)


class RequestRefused(Exception):  # noqa: N818 - the fact
    """The server did not take the request. `envelope` is its answer, `idempotency_key` the key it was sent under."""

    def __init__(self, status_code: int, envelope: Json, idempotency_key: str | None = None) -> None:
        super().__init__(f"{envelope.get('code')}: {envelope.get('message')}")
        self.status_code = status_code
        self.envelope = envelope
        self.idempotency_key = idempotency_key


class BatchFailed(Exception):  # noqa: N818 - the fact
    """The request ended with ``result`` false. `report` is the whole v1 answer."""

    def __init__(self, report: Json) -> None:
        super().__init__(f"{report['code']}: {report['message']}")
        self.report = report


class StillRunning(TimeoutError):  # noqa: N818 - the fact
    """The request has not ended yet; `operation` goes on waiting."""

    def __init__(self, operation: "Operation | AsyncOperation") -> None:
        super().__init__(f"{operation.request_id} is still running")
        self.operation = operation


class _Requests:
    """What both clients send, and how they read the answer."""

    def __init__(self, bk_app_code: str, bk_app_secret: str, bk_username: str) -> None:
        identity = {"bk_app_code": bk_app_code, "bk_app_secret": bk_app_secret, "bk_username": bk_username}
        given = {name: value for name, value in identity.items() if value}
        self.headers = {"X-Bkapi-Authorization": json.dumps(given)} if given else {}

    @staticmethod
    def submission(batch: Mapping[str, Any], key: str) -> Json:
        """Arguments of the POST that enqueues `batch`."""
        return {"url": "/v1/batches", "json": dict(batch), "headers": {"Idempotency-Key": key}}

    @staticmethod
    def poll(request_id: str, wait_s: float) -> Json:
        """Arguments of the GET that answers at the end, or after `wait_s` seconds."""
        headers = {"Prefer": f"wait={int(wait_s)}"} if wait_s >= 1 else {}
        return {"url": f"/v1/batches/{request_id}", "headers": headers}

    @staticmethod
    def answer(response: httpx2.Response, key: str | None = None) -> Json:
        """The body of an accepted call.

        Raises:
            RequestRefused: any status of 400 and above.
        """
        try:
            body: Json = response.json()
        except ValueError:
            body = {"result": False, "code": None, "message": f"HTTP {response.status_code} without an envelope"}
        if response.status_code >= 400:
            raise RequestRefused(response.status_code, body, key)
        return body


def _outcome(report: Json) -> Json:
    if report["status"] != "SUCCESS":
        raise BatchFailed(report)
    return report


def _parts(batch: Mapping[str, Any]) -> Iterator[Json]:
    instances = list(batch.get("instances") or ())
    for start in range(0, max(len(instances), 1), MAX_INSTANCES):
        yield {**batch, "instances": instances[start : start + MAX_INSTANCES]}


class Operation:
    """A submitted request."""

    def __init__(self, client: "Client", request_id: str, idempotency_key: str | None = None) -> None:
        self._client = client
        self.request_id = request_id
        self.idempotency_key = idempotency_key

    def status(self, wait_s: float = 0) -> Json:
        """The v1 report; with `wait_s` as soon as the request ends, at most 20 seconds later."""
        return self._client.poll(self.request_id, wait_s)

    def done(self) -> bool:
        """Whether it has ended."""
        return self.status()["status"] in FINAL_STATUSES

    def wait(self, timeout: float | None = None) -> Json:
        """The final report, whatever it says.

        Raises:
            StillRunning: it has not ended within `timeout` seconds.
        """
        ends_at = None if timeout is None else time.monotonic() + timeout
        while True:
            left = _LONGEST_POLL_S if ends_at is None else min(ends_at - time.monotonic(), _LONGEST_POLL_S)
            report = self.status(max(left, 0))
            if report["status"] in FINAL_STATUSES:
                return report
            if ends_at is not None and time.monotonic() >= ends_at:
                raise StillRunning(self)

    def result(self, timeout: float | None = None) -> Json:
        """The final report of a success.

        Raises:
            BatchFailed: it ended otherwise.
            StillRunning: it has not ended within `timeout` seconds.
        """
        return _outcome(self.wait(timeout))

    def progress(self) -> dict[str, int]:
        """The counters: total_count, success_count, failed_count, pending_count, running_count."""
        return dict((self.status())["statistics"])

    def cancel(self) -> Json:
        """End it before a worker starts it; raises `RequestRefused` (409) when that is too late."""
        return self._client.act(self.request_id, "cancel")

    def retry(self) -> "Operation":
        """Submit it again after it has failed: a new operation."""
        return Operation(self._client, (self._client.act(self.request_id, "retry"))["request_id"])


class AsyncOperation:
    """A submitted request."""

    def __init__(self, client: "AsyncClient", request_id: str, idempotency_key: str | None = None) -> None:
        self._client = client
        self.request_id = request_id
        self.idempotency_key = idempotency_key

    async def status(self, wait_s: float = 0) -> Json:
        """Like `Operation.status`."""
        return await self._client.poll(self.request_id, wait_s)

    async def done(self) -> bool:
        """Like `Operation.done`."""
        return (await self.status())["status"] in FINAL_STATUSES

    async def wait(self, timeout: float | None = None) -> Json:  # noqa: ASYNC109 - the caller's own budget
        """Like `Operation.wait`."""
        ends_at = None if timeout is None else time.monotonic() + timeout
        while True:
            left = _LONGEST_POLL_S if ends_at is None else min(ends_at - time.monotonic(), _LONGEST_POLL_S)
            report = await self.status(max(left, 0))
            if report["status"] in FINAL_STATUSES:
                return report
            if ends_at is not None and time.monotonic() >= ends_at:
                raise StillRunning(self)

    async def result(self, timeout: float | None = None) -> Json:  # noqa: ASYNC109 - the caller's own budget
        """Like `Operation.result`."""
        return _outcome(await self.wait(timeout))

    async def progress(self) -> dict[str, int]:
        """Like `Operation.progress`."""
        return dict((await self.status())["statistics"])

    async def cancel(self) -> Json:
        """Like `Operation.cancel`."""
        return await self._client.act(self.request_id, "cancel")

    async def retry(self) -> "AsyncOperation":
        """Like `Operation.retry`."""
        return AsyncOperation(self._client, (await self._client.act(self.request_id, "retry"))["request_id"])


class Client:
    """Blocking client of one server. Use it as a context manager, or `close` it."""

    def __init__(self, url: str, *, bk_app_code: str = "", bk_app_secret: str = "", bk_username: str = "") -> None:
        self._requests = _Requests(bk_app_code, bk_app_secret, bk_username)
        self._http = httpx2.Client(base_url=url, headers=self._requests.headers, timeout=_LONGEST_POLL_S + 10)

    def __enter__(self) -> Self:
        """Nothing is opened before the first call."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def submit(self, batch: Mapping[str, Any], idempotency_key: str | None = None) -> Operation:
        """Enqueue up to 100 instances; repeated by itself, under one key, while the server cannot be reached.

        Raises:
            RequestRefused: the batch, the caller or the moment is not right.
            httpx2.TransportError: the server stayed away; whether it took the request is told by the same key again.
        """
        key = idempotency_key or uuid.uuid4().hex
        for attempt in stamina.retry_context(on=_LOST, attempts=_TRIES):
            with attempt:
                response = self._http.post(**self._requests.submission(batch, key))
        return Operation(self, self._requests.answer(response, key)["request_id"], key)

    def submit_many(self, batch: Mapping[str, Any], idempotency_key: str | None = None) -> list[Operation]:
        """Enqueue any number of instances, 100 to a request, in order; one key covers all of them."""
        key = idempotency_key or uuid.uuid4().hex
        return [self.submit(part, f"{key}.{number}") for number, part in enumerate(_parts(batch))]

    def act(self, request_id: str, verb: str) -> Json:
        """``cancel`` or ``retry`` a request of this application."""
        return self._requests.answer(self._http.post(f"/v1/batches/{request_id}:{verb}"))

    def poll(self, request_id: str, wait_s: float = 0) -> Json:
        """The v1 report of any request of this application."""
        for attempt in stamina.retry_context(on=_LOST, attempts=_TRIES):
            with attempt:
                response = self._http.get(**self._requests.poll(request_id, wait_s))
        return self._requests.answer(response)

    def validate(self, batch: Mapping[str, Any]) -> Json:
        """What would be created, found or refused; nothing is written."""
        return self._requests.answer(self._http.post("/v1/batches:validate", json=dict(batch)))

    def create_service_instance(self, payload: Mapping[str, Any]) -> Json:
        """The old call: the envelope of CMDB's six keys, after the server has waited for the rows."""
        return self._requests.answer(self._http.post(_ESB_PATH, json=dict(payload)))


class AsyncClient:
    """`Client` for an event loop."""

    def __init__(self, url: str, *, bk_app_code: str = "", bk_app_secret: str = "", bk_username: str = "") -> None:
        self._requests = _Requests(bk_app_code, bk_app_secret, bk_username)
        self._http = httpx2.AsyncClient(base_url=url, headers=self._requests.headers, timeout=_LONGEST_POLL_S + 10)

    async def __aenter__(self) -> Self:
        """Nothing is opened before the first call."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close the connections."""
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def submit(self, batch: Mapping[str, Any], idempotency_key: str | None = None) -> AsyncOperation:
        """Like `Client.submit`."""
        key = idempotency_key or uuid.uuid4().hex
        async for attempt in stamina.retry_context(on=_LOST, attempts=_TRIES):
            with attempt:
                response = await self._http.post(**self._requests.submission(batch, key))
        return AsyncOperation(self, self._requests.answer(response, key)["request_id"], key)

    async def submit_many(self, batch: Mapping[str, Any], idempotency_key: str | None = None) -> list[AsyncOperation]:
        """Like `Client.submit_many`."""
        key = idempotency_key or uuid.uuid4().hex
        return [await self.submit(part, f"{key}.{number}") for number, part in enumerate(_parts(batch))]

    async def act(self, request_id: str, verb: str) -> Json:
        """Like `Client.act`."""
        return self._requests.answer(await self._http.post(f"/v1/batches/{request_id}:{verb}"))

    async def poll(self, request_id: str, wait_s: float = 0) -> Json:
        """Like `Client.poll`."""
        async for attempt in stamina.retry_context(on=_LOST, attempts=_TRIES):
            with attempt:
                response = await self._http.get(**self._requests.poll(request_id, wait_s))
        return self._requests.answer(response)

    async def validate(self, batch: Mapping[str, Any]) -> Json:
        """Like `Client.validate`."""
        return self._requests.answer(await self._http.post("/v1/batches:validate", json=dict(batch)))

    async def create_service_instance(self, payload: Mapping[str, Any]) -> Json:
        """Like `Client.create_service_instance`."""
        return self._requests.answer(await self._http.post(_ESB_PATH, json=dict(payload)))
