"""The client for threads."""

import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, Self, TypeVar, Unpack, cast

import httpx2

from bksi_client import calls, flow
from bksi_client.errors import BksiError, RequestRefused
from bksi_client.flow import Send, Sleep, Steps
from bksi_client.operations import Pending, PendingJob, PendingRequest, R
from bksi_client.options import Configured, Given, Options, trusted
from bksi_client.threads import Callbacks, within
from bksi_client.types import Batch, Envelope, Item, JobBatch, JobReport, Outcome, Report, Status, Summary

T = TypeVar("T")


class _Waiting(Pending[R], Generic[R]):
    """What can be done with something that was submitted."""

    def __init__(self, client: "Client", id_: str, idempotency_key: str | None = None) -> None:
        super().__init__(client.options, id_, idempotency_key)
        self._client = client
        self._callbacks = Callbacks(self)

    def status(self, wait_s: float = 0) -> R:
        """The report as it is now; with `wait_s` as soon as it has ended, at most 20 seconds later."""
        return self._client.run(self._look(wait_s))

    def done(self) -> bool:
        """Whether it has ended. Asks, unless that is known."""
        if not self._is_final:
            self.status()
        return self._is_final

    def wait(self, timeout: float | None = None) -> R:
        """The final report, whatever it says.

        Raises:
            StillRunning: it is not known to have ended after `timeout` seconds, whatever the server does.
        """
        return self._client.run(self._wait(timeout))

    def result(self, timeout: float | None = None) -> R:
        """The final report of a success.

        Raises:
            BatchFailed: it ended otherwise (JobFailed, of a job).
            StillRunning: as `wait`.
        """
        return self._client.run(self._result(timeout))

    def exception(self, timeout: float | None = None) -> BksiError | None:
        """What `result` would raise at the end, None for a success; raises StillRunning as `wait`."""
        return self._client.run(self._exception(timeout))

    def progress(self, every_s: float = 1.0) -> Iterator[R]:
        """The report now, then about every `every_s` seconds, and the final one at last."""
        yield (report := self._client.run(self._watch(every_s)))
        while not self._is_final or self.report != report:  # who follows it may have asked in between
            newer = self._client.run(self._watch(every_s))
            if newer != report:
                yield (report := newer)

    def add_done_callback(self, callback: Callable[[Self], object]) -> None:
        """Call `callback` with this operation, in a thread of its own, once it has ended.

        It is called, too, when the server cannot be asked any longer; `done` and `exception` then ask again.
        """
        self._callbacks.add(lambda: callback(self))

    def cancel(self) -> R:
        """End it before it is started; raises `RequestRefused` (409) when that is too late."""
        return self._client.run(self._cancel())

    def retry(self) -> Self:
        """Submit what did not succeed again: a new one, with the same idempotency key for whoever reads it."""
        return type(self)(self._client, self._client.run(self._retry()), self.idempotency_key)


class Operation(_Waiting[Report], PendingRequest):
    """A submitted request."""

    def items(self, outcome: Outcome | None = None) -> Iterator[Item]:
        """What became of each instance, in order."""
        return self._client.batches.items(self.id, outcome)


class Job(_Waiting[JobReport], PendingJob):
    """A submitted job."""

    def items(self, outcome: Outcome | None = None) -> Iterator[Item]:
        """What became of each instance, in order."""
        return self._client.pages(f"{self._path}/items", "items", {"outcome": outcome})

    def batches(self) -> Iterator[JobBatch]:
        """The requests that it was cut into."""
        return self._client.pages(f"{self._path}/batches", "batches", {})


class Batches:
    """The requests of the calling application: ``client.batches``."""

    def __init__(self, client: "Client") -> None:
        self._client = client

    def list(
        self,
        *,
        status: Status | None = None,
        bk_biz_id: int | None = None,
        bk_module_id: int | None = None,
        idempotency_key: str | None = None,
        page_size: int | None = None,
    ) -> Iterator[Summary]:
        """The newest first; asks for the next page when it is needed."""
        filters: dict[str, str | int | None] = {"status": status, "bk_biz_id": bk_biz_id, "bk_module_id": bk_module_id}
        filters |= {"idempotency_key": idempotency_key, "limit": page_size}
        return self._client.pages(calls.BATCHES, "batches", filters)

    def find(self, idempotency_key: str) -> Operation | None:
        """The request that was submitted under a key; None when there is none, or its key has been forgotten."""
        for summary in self.list(idempotency_key=idempotency_key):
            return self._client.operation(summary["request_id"], idempotency_key)
        return None

    def get(self, request_id: str) -> Report:
        """How a request stands."""
        return self._client.poll(request_id)

    def items(self, request_id: str, outcome: Outcome | None = None) -> Iterator[Item]:
        """What became of each instance of a request, in order."""
        return self._client.pages(f"{calls.path_of(calls.BATCHES, request_id)}/items", "items", {"outcome": outcome})


class Jobs:
    """The jobs of the calling application: ``client.jobs``."""

    def __init__(self, client: "Client") -> None:
        self._client = client

    def submit(self, batch: Batch, idempotency_key: str | None = None) -> Job:
        """Enqueue any number of instances under one id. Under the same key again it goes on where it stopped.

        `instances` are sent as they are made. An iterator can be sent once; from a list, or anything else that can be
        iterated again, the call is repeated as every other.
        """
        key = flow.key_of(idempotency_key)
        call = calls.job_submission(batch, key)
        id_, response = self._client.run(flow.submit(call, "job_id", self._client.options))
        job = self.operation(id_, key)
        job.response = response
        return job

    def operation(self, job_id: str, idempotency_key: str | None = None) -> Job:
        """The job of an id that was kept. Asks nothing."""
        return Job(self._client, job_id, idempotency_key)

    def list(self, *, page_size: int | None = None) -> Iterator[JobReport]:
        """The newest first; asks for the next page when it is needed."""
        return self._client.pages(calls.JOBS, "jobs", {"limit": page_size})


class Client(Configured):
    """Blocking client of one server, safe to share between threads. Use it as a context manager, or `close` it.

    What is not given is read from BKSI_URL, BKSI_APP_CODE, BKSI_APP_SECRET, BKSI_USERNAME and BKSI_LANGUAGE. Every
    method raises `RequestRefused` for an answer of 400 and above, and `Unanswered` when none came.

    Args:
        url: of the server.
        bk_app_code: of the calling application.
        bk_app_secret: of the calling application.
        bk_username: whom the application calls for.
        language: of messages.
        headers: to send with every call (``traceparent``, ``X-Request-Id``).
        timeout: seconds that one call may take in all, its repeats included, whatever the server does; None leaves it
            to `patience_s`.
        patience_s: for how long a call is repeated while the server is away or busy, in seconds; 0 = never.
        retries: how often a call is repeated at most; None leaves it to `patience_s`.
        verify: a context or the path of a file with the certificates to trust; False trusts everybody.
        proxy: URL of a proxy.
        http_client: makes the calls instead of one of our own; it stays open.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        verify: ssl.SSLContext | str | bool = True,
        proxy: str | None = None,
        http_client: httpx2.Client | None = None,
        **given: Unpack[Given],
    ) -> None:
        self.options = Options.of(url, given)
        self._owns_http = http_client is None
        self._http = http_client or httpx2.Client(verify=trusted(verify), proxy=proxy)

    def __enter__(self) -> Self:
        """Nothing is opened before the first call."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections, unless they are another client's."""
        if self._owns_http:
            self._http.close()

    @property
    def batches(self) -> Batches:
        """Requests that were submitted before."""
        return Batches(self)

    @property
    def jobs(self) -> Jobs:
        """Any number of instances under one id."""
        return Jobs(self)

    def submit(self, batch: Batch, idempotency_key: str | None = None) -> Operation:
        """Enqueue up to 100 instances, once under its key; without one it gets a fresh key."""
        key = flow.key_of(idempotency_key)
        id_, response = self.run(flow.submit(calls.submission(batch, key), "request_id", self.options))
        operation = self.operation(id_, key)
        operation.response = response
        return operation

    def submit_many(self, batch: Batch, idempotency_key: str | None = None) -> Iterator[Operation]:
        """Enqueue any number of instances, 100 to a request, in order: each operation as soon as it is accepted.

        Nothing is sent before it is asked for: iterate. One key covers all of it, so that the same again goes on where
        it stopped.

        Raises:
            RequestRefused: of a part; `first_index` and the paths say where it stands in the whole.
        """
        key = flow.key_of(idempotency_key)
        for number, (start, part) in enumerate(calls.parts(batch)):
            try:
                yield self.submit(part, calls.part_key(key, number))
            except RequestRefused as refused:
                raise calls.moved(refused, start) from None

    def operation(self, request_id: str, idempotency_key: str | None = None) -> Operation:
        """The operation of an id that was kept. Asks nothing."""
        return Operation(self, request_id, idempotency_key)

    def poll(self, request_id: str, wait_s: float = 0) -> Report:
        """How a request stands; with `wait_s` as soon as it has ended, at most 20 seconds later."""
        call = calls.poll(calls.path_of(calls.BATCHES, request_id), wait_s)
        report: Report = self.run(flow.ask(call, self.options))
        return report

    def validate(self, batch: Batch) -> Report:
        """What would be created, found or refused; nothing is written."""
        report: Report = self.run(flow.ask(calls.validation(batch), self.options))
        return report

    def create_service_instance(self, payload: Mapping[str, object]) -> Envelope:
        """The old call: the envelope of CMDB's six keys, after the server has waited for the rows."""
        envelope: Envelope = self.run(flow.ask(calls.old_call(payload), self.options))
        return envelope

    def request(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        """Any call, with the client's identity and repeats: the answer as it came, whatever its status."""
        call = calls.Call(method, path, json, params or {}, headers or {})
        return self.run(flow.perform(call, self.options))

    def pages(self, path: str, name: str, filters: calls.Filters) -> Iterator[Any]:
        """Every entry of a list, page by page."""
        cursor: str | None = None
        while True:
            page = self.run(flow.ask(calls.page(path, filters, cursor), self.options))
            yield from page[name]
            cursor = page.get("next_cursor")
            if not cursor:
                return

    def run(self, todo: Steps[T]) -> T:
        """Do what `todo` asks for, to its end."""
        try:
            wanted = next(todo)
            while True:
                try:
                    outcome = self._do(wanted)
                except httpx2.RequestError as error:
                    wanted = todo.throw(error)
                else:
                    wanted = todo.send(outcome)
        except StopIteration as end:
            return cast("T", end.value)

    def _do(self, wanted: Send | Sleep) -> httpx2.Response | None:
        if isinstance(wanted, Sleep):
            time.sleep(wanted.seconds)
            return None
        if wanted.seconds is None:
            return self._http.request(**wanted.arguments(), timeout=wanted.step_s)
        return within(wanted.seconds, lambda: self._http.request(**wanted.arguments(), timeout=wanted.step_s))
