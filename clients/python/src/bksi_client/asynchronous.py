"""The client for an event loop: `bksi_client.blocking` with ``await``."""

import asyncio
import inspect
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Mapping
from typing import Any, Generic, Self, TypeVar, Unpack, cast

import httpx2

from bksi_client import calls, flow
from bksi_client.errors import BksiError, RequestRefused
from bksi_client.flow import Send, Sleep, Steps
from bksi_client.operations import Pending, PendingJob, PendingRequest, R
from bksi_client.options import Configured, Given, Options, trusted
from bksi_client.types import Batch, Envelope, Item, JobBatch, JobReport, Outcome, Report, Status, Summary

_log = logging.getLogger("bksi_client")
T = TypeVar("T")


class _Waiting(Pending[R], Generic[R]):
    """What can be done with something that was submitted."""

    def __init__(self, client: "AsyncClient", id_: str, idempotency_key: str | None = None) -> None:
        super().__init__(client.options, id_, idempotency_key)
        self._client = client

    async def status(self, wait_s: float = 0) -> R:
        """Like `Operation.status`."""
        return await self._client.run(self._look(wait_s))

    async def done(self) -> bool:
        """Like `Operation.done`."""
        if not self._is_final:
            await self.status()
        return self._is_final

    async def wait(self, timeout: float | None = None) -> R:  # noqa: ASYNC109 - the caller\'s own budget
        """Like `Operation.wait`."""
        return await self._client.run(self._wait(timeout))

    async def result(self, timeout: float | None = None) -> R:  # noqa: ASYNC109 - the caller\'s own budget
        """Like `Operation.result`."""
        return await self._client.run(self._result(timeout))

    async def exception(self, timeout: float | None = None) -> BksiError | None:  # noqa: ASYNC109 - the caller\'s own budget
        """Like `Operation.exception`."""
        return await self._client.run(self._exception(timeout))

    async def progress(self, every_s: float = 1.0) -> AsyncIterator[R]:
        """Like `Operation.progress`."""
        yield (report := await self._client.run(self._watch(every_s)))
        while not self._is_final or self.report != report:  # who follows it may have asked in between
            newer = await self._client.run(self._watch(every_s))
            if newer != report:
                yield (report := newer)

    def add_done_callback(self, callback: Callable[[Self], object]) -> None:
        """Like `Operation.add_done_callback`, in a task of the running loop. A coroutine function is awaited."""
        task = asyncio.get_running_loop().create_task(self._call_back(callback))
        # The loop itself holds tasks weakly.
        self._client.tasks.add(task)
        task.add_done_callback(self._client.tasks.discard)

    async def _call_back(self, callback: Callable[[Self], object]) -> None:
        try:
            await self.wait()
        except (BksiError, RuntimeError, httpx2.HTTPError) as error:
            _log.warning("%r cannot be waited for: %s", self, error)
        try:
            called = callback(self)
            if inspect.isawaitable(called):
                await called
        except Exception:  # noqa: BLE001 - as `concurrent.futures` does
            _log.exception("a callback of %r failed", self)

    def __await__(self) -> Generator[Any, None, R]:
        """``await operation`` is ``await operation.result()``."""
        return self.result().__await__()

    async def cancel(self) -> R:
        """Like `Operation.cancel`."""
        return await self._client.run(self._cancel())

    async def retry(self) -> Self:
        """Like `Operation.retry`."""
        return type(self)(self._client, await self._client.run(self._retry()), self.idempotency_key)


class AsyncOperation(_Waiting[Report], PendingRequest):
    """A submitted request."""

    def items(self, outcome: Outcome | None = None) -> AsyncIterator[Item]:
        """Like `Operation.items`."""
        return self._client.batches.items(self.id, outcome)


class AsyncJob(_Waiting[JobReport], PendingJob):
    """A submitted job."""

    def items(self, outcome: Outcome | None = None) -> AsyncIterator[Item]:
        """Like `Job.items`."""
        return self._client.pages(f"{self._path}/items", "items", {"outcome": outcome})

    def batches(self) -> AsyncIterator[JobBatch]:
        """Like `Job.batches`."""
        return self._client.pages(f"{self._path}/batches", "batches", {})


class AsyncBatches:
    """The requests of the calling application: ``client.batches``."""

    def __init__(self, client: "AsyncClient") -> None:
        self._client = client

    def list(
        self,
        *,
        status: Status | None = None,
        bk_biz_id: int | None = None,
        bk_module_id: int | None = None,
        idempotency_key: str | None = None,
        page_size: int | None = None,
    ) -> AsyncIterator[Summary]:
        """Like `Batches.list`."""
        filters: dict[str, str | int | None] = {"status": status, "bk_biz_id": bk_biz_id, "bk_module_id": bk_module_id}
        filters |= {"idempotency_key": idempotency_key, "limit": page_size}
        return self._client.pages(calls.BATCHES, "batches", filters)

    async def find(self, idempotency_key: str) -> AsyncOperation | None:
        """Like `Batches.find`."""
        async for summary in self.list(idempotency_key=idempotency_key):
            return self._client.operation(summary["request_id"], idempotency_key)
        return None

    async def get(self, request_id: str) -> Report:
        """Like `Batches.get`."""
        return await self._client.poll(request_id)

    def items(self, request_id: str, outcome: Outcome | None = None) -> AsyncIterator[Item]:
        """Like `Batches.items`."""
        return self._client.pages(f"{calls.path_of(calls.BATCHES, request_id)}/items", "items", {"outcome": outcome})


class AsyncJobs:
    """The jobs of the calling application: ``client.jobs``."""

    def __init__(self, client: "AsyncClient") -> None:
        self._client = client

    async def submit(self, batch: Batch, idempotency_key: str | None = None) -> AsyncJob:
        """Like `Jobs.submit`."""
        key = flow.key_of(idempotency_key)
        id_, response = await self._client.run(
            flow.submit(calls.job_submission(batch, key), "job_id", self._client.options)
        )
        job = self.operation(id_, key)
        job.response = response
        return job

    def operation(self, job_id: str, idempotency_key: str | None = None) -> AsyncJob:
        """Like `Jobs.operation`."""
        return AsyncJob(self._client, job_id, idempotency_key)

    def list(self, *, page_size: int | None = None) -> AsyncIterator[JobReport]:
        """Like `Jobs.list`."""
        return self._client.pages(calls.JOBS, "jobs", {"limit": page_size})


class AsyncClient(Configured):
    """`Client` for an event loop, with the same arguments; `http_client` is an `httpx2.AsyncClient`."""

    def __init__(
        self,
        url: str | None = None,
        *,
        verify: ssl.SSLContext | str | bool = True,
        proxy: str | None = None,
        http_client: httpx2.AsyncClient | None = None,
        **given: Unpack[Given],
    ) -> None:
        self.options = Options.of(url, given)
        self.tasks: set[asyncio.Task[None]] = set()
        self._owns_http = http_client is None
        self._http = http_client or httpx2.AsyncClient(verify=trusted(verify), proxy=proxy)

    async def __aenter__(self) -> Self:
        """Nothing is opened before the first call."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Close the connections."""
        await self.close()

    async def close(self) -> None:
        """Like `Client.close`."""
        if self._owns_http:
            await self._http.aclose()

    @property
    def batches(self) -> AsyncBatches:
        """Like `Client.batches`."""
        return AsyncBatches(self)

    @property
    def jobs(self) -> AsyncJobs:
        """Like `Client.jobs`."""
        return AsyncJobs(self)

    async def submit(self, batch: Batch, idempotency_key: str | None = None) -> AsyncOperation:
        """Like `Client.submit`."""
        key = flow.key_of(idempotency_key)
        id_, response = await self.run(flow.submit(calls.submission(batch, key), "request_id", self.options))
        operation = self.operation(id_, key)
        operation.response = response
        return operation

    async def submit_many(self, batch: Batch, idempotency_key: str | None = None) -> AsyncIterator[AsyncOperation]:
        """Like `Client.submit_many`."""
        key = flow.key_of(idempotency_key)
        for number, (start, part) in enumerate(calls.parts(batch)):
            try:
                yield await self.submit(part, calls.part_key(key, number))
            except RequestRefused as refused:
                raise calls.moved(refused, start) from None

    def operation(self, request_id: str, idempotency_key: str | None = None) -> AsyncOperation:
        """Like `Client.operation`."""
        return AsyncOperation(self, request_id, idempotency_key)

    async def poll(self, request_id: str, wait_s: float = 0) -> Report:
        """Like `Client.poll`."""
        call = calls.poll(calls.path_of(calls.BATCHES, request_id), wait_s)
        report: Report = await self.run(flow.ask(call, self.options))
        return report

    async def validate(self, batch: Batch) -> Report:
        """Like `Client.validate`."""
        report: Report = await self.run(flow.ask(calls.validation(batch), self.options))
        return report

    async def create_service_instance(self, payload: Mapping[str, object]) -> Envelope:
        """Like `Client.create_service_instance`."""
        envelope: Envelope = await self.run(flow.ask(calls.old_call(payload), self.options))
        return envelope

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        """Like `Client.request`."""
        call = calls.Call(method, path, json, params or {}, headers or {})
        return await self.run(flow.perform(call, self.options))

    async def pages(self, path: str, name: str, filters: calls.Filters) -> AsyncIterator[Any]:
        """Like `Client.pages`."""
        cursor: str | None = None
        while True:
            page = await self.run(flow.ask(calls.page(path, filters, cursor), self.options))
            for entry in page[name]:
                yield entry
            cursor = page.get("next_cursor")
            if not cursor:
                return

    async def run(self, todo: Steps[T]) -> T:
        """Like `Client.run`."""
        try:
            wanted = next(todo)
            while True:
                try:
                    outcome = await self._do(wanted)
                except httpx2.RequestError as error:
                    wanted = todo.throw(error)
                else:
                    wanted = todo.send(outcome)
        except StopIteration as end:
            return cast("T", end.value)

    async def _do(self, wanted: Send | Sleep) -> httpx2.Response | None:
        if isinstance(wanted, Sleep):
            await asyncio.sleep(wanted.seconds)
            return None
        try:
            async with asyncio.timeout(wanted.seconds):
                arguments = wanted.arguments()
                if wanted.call.lines is not None:
                    arguments["content"] = _as_they_come(wanted.call.lines)
                return await self._http.request(**arguments, timeout=wanted.step_s)
        except TimeoutError:
            raise httpx2.ReadTimeout("the time is up") from None


async def _as_they_come(lines: Iterable[bytes]) -> AsyncIterator[bytes]:
    for line in lines:
        yield line
