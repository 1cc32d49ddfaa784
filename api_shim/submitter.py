"""The one door to the queue: submit a batch, poll its report, wait for it.

Submitting is one atomic Redis script: the pending entry with the payload, the pending set, the Celery message and the
limit on all that is unfinished. Once it has answered, the request survives every worker and this process.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Literal

from celery import Celery

from api_shim.backlog import Backlog
from api_shim.health import Health
from api_shim.recall import Recall
from api_shim.refusals import Busy, NotFound, NotRetryable, PayloadGone, TooLate, reaching_redis
from api_shim.retries import is_retryable, tried_again
from api_shim.waiters import Waiters
from contract.answer.report import Report, report_expires_at
from contract.answer.status import Status, Warning_
from contract.codes import Code, Refused
from contract.message import Caller, Payload, make_celery, new_request_id
from contract.queue import Queue
from contract.redis.connection import connect
from contract.redis.listing import Listing, Wanted
from contract.redis.records import PendingEntry
from contract.redis.requests import QueueFull, Requests, Submitted
from contract.request.batch import ServiceInstanceBatch
from contract.request.idempotency import key_of_retry
from contract.settings import Settings
from plumbing.failpoints import async_failpoint


class Submitter:
    """Enqueue and ask. Use as an async context manager; safe to share in one event loop.

    Every method raises `BrokerUnavailable` when Redis does not answer within ``redis_timeout_s``. Those that take a
    request_id also raise what `poll` does.
    """

    def __init__(self, requests: Requests, settings: Settings, celery: Celery | None = None) -> None:
        self.requests = requests
        self.waiters = Waiters(requests)
        self._settings = settings
        self.queue = Queue(celery or make_celery(settings), settings)
        self.backlog = Backlog(requests)
        self._listing = Listing(requests.client, requests.keys)
        self.recall = Recall(requests, self.waiters, self.queue)
        self.health = Health(requests, self.queue)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, settings: Settings, told: Callable[[float], object] | None = None
    ) -> AsyncIterator["Submitter"]:
        """A submitter with its own connections, closed at the end; `told` is called with each round trip's seconds."""
        client = connect(settings, told=told)
        try:
            async with cls(Requests(client, settings), settings) as submitter:
                yield submitter
        finally:
            await client.aclose()

    async def __aenter__(self) -> "Submitter":
        """Start listening for finished requests."""
        await self.waiters.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Stop listening."""
        await self.waiters.__aexit__(*exc_info)

    async def submit(
        self,
        batch: ServiceInstanceBatch,
        caller: Caller,
        *,
        warnings: tuple[Warning_, ...] = (),
        idempotency_key: str | None = None,
        while_unfinished: bool = False,
        kind: Literal["create", "validate"] = "create",
        headers: dict[str, str] | None = None,
    ) -> Submitted:
        """Enqueue one Celery task for `batch`; its ``task_id`` is the request_id that is returned.

        Args:
            batch: What to create, already within all limits.
            caller: Who asks; only this application may poll the request.
            warnings: What the reader of the body ignored; shown again in the report.
            idempotency_key: A repeat with the same key and the same batch gives the first one's request_id.
            while_unfinished: The key only holds until the first one's end; a later repeat is a new request.
            kind: ``validate`` runs the same rules and writes nothing.
            headers: Extra Celery headers (``traceparent``).

        Raises:
            Busy: `max_pending` requests are unfinished.
            IdempotencyConflict: the key belongs to another batch.
            BrokerUnavailable: Redis or the broker does not answer.
        """
        request_id = new_request_id()
        entry = PendingEntry.of(request_id, batch, caller, warnings, kind, headers=headers)

        async def write(message: bytes) -> Submitted:
            submitting = self.requests.submit(entry, message, idempotency_key, while_unfinished=while_unfinished)
            submitted = await reaching_redis(submitting)
            await async_failpoint("after_submit", submitted.request_id)
            return submitted

        await async_failpoint("before_submit")
        self.waiters.note_submitted(request_id, caller.bk_app_code)
        try:
            return await self.queue.put(
                write, request_id, entry.summary, headers, is_wanted=lambda submitted: not submitted.replayed
            )
        except QueueFull as full:
            raise Busy(await self.backlog.seconds_for(full.pending)) from None

    async def poll(self, request_id: str, bk_app_code: str) -> Report:
        """How the request stands; one that Redis knows no more is put back by a worker, from PostgreSQL.

        Raises:
            NotFound: there is none of this application under that id.
            Expired: it ended so long ago that PostgreSQL has dropped its report too.
            RecallUnanswered: no worker has looked in time.
        """
        return await reaching_redis(self.recall.find(request_id, bk_app_code, self.requests.load))

    async def wait(
        self,
        request_id: str,
        bk_app_code: str,
        timeout: float,  # noqa: ASYNC109 - not of this coroutine: of the wait
        given_up: "asyncio.Future[None] | None" = None,
    ) -> Report:
        """Like `poll`, but waits for the end; woken by it, never looping on Redis.

        Up to `timeout` seconds, or until `given_up` is done: then nobody waits for the answer any more.
        """
        if timeout <= 0:
            return await self.poll(request_id, bk_app_code)
        async with self.waiters.expecting(request_id, given_up) as ended:
            if not self.waiters.is_unended(request_id, bk_app_code):
                report = await self.poll(request_id, bk_app_code)
                if report.status.is_final:
                    return report
            final = await ended(timeout)
        return final or await self.poll(request_id, bk_app_code)

    async def cancel(self, request_id: str, bk_app_code: str) -> Report:
        """End a request that no worker has started.

        Raises:
            TooLate: it has been started, or has ended.
        """
        report = await self.poll(request_id, bk_app_code)
        if report.status.is_final:
            if report.status is Status.TERMINATED:
                return report
            raise TooLate(report.status)
        return await self.end_unstarted(report, await self.now())

    async def now(self) -> datetime:
        """Redis' clock, by which a request is also accepted."""
        return await reaching_redis(self.requests.now())

    async def end_unstarted(self, pending: Report, now: datetime) -> Report:
        """End a request that waits.

        Raises:
            TooLate: it has been started.
            NotFound: it is unknown by now.
        """
        expires_at = report_expires_at(now, self._settings)
        ended = pending.ended(Refused(Code.CANCELLED), finished_at=now, expires_at=expires_at)
        answer = await reaching_redis(self.requests.cancel(ended))
        if answer == 1:
            return ended
        now_is = await reaching_redis(self.requests.load(pending.request_id))
        if answer == 0 or now_is is not None:  # without an entry, and yet known: its rows are being handed on to CMDB
            raise TooLate(now_is.status if now_is else Status.RUNNING)
        raise NotFound

    async def retry(self, request_id: str, caller: Caller, headers: dict[str, str] | None = None) -> Submitted:
        """Submit a request that did not succeed again, as a new one.

        Asked twice while the new one is unfinished, both get the same request_id.

        Raises:
            NotRetryable: it is unfinished, or has succeeded and CMDB has it, or its rows would be cloned once more.
            PayloadGone: what it asked for is not kept any more.
        """
        batch, payload = await self._again(await self.poll(request_id, caller.bk_app_code))
        return await self.submit(
            batch,
            caller,
            warnings=payload.warnings,
            idempotency_key=key_of_retry(request_id),
            while_unfinished=True,
            kind=payload.kind,
            headers=headers,
        )

    async def is_retryable(self, report: Report) -> bool:
        """Whether `retry` would take a request; raises `BrokerUnavailable` where that cannot be found out."""
        try:
            await self._again(report)
        except (NotRetryable, PayloadGone):
            return False
        return True

    async def kept(self, request_id: str) -> Payload:
        """What a request asked for that has not succeeded; raises `PayloadGone` where it is not kept any more."""
        payload = await reaching_redis(self.requests.load_kept(request_id))
        if payload is None:
            raise PayloadGone
        return payload

    async def _again(self, report: Report) -> tuple[ServiceInstanceBatch, Payload]:
        """What is asked for when a request is tried again, and what was asked for; raises as `retry`."""
        if not is_retryable(report):
            raise NotRetryable(report.status)
        payload = await self.kept(report.request_id)
        batch = tried_again(payload.batch, report, whole=True)
        if batch is None:
            raise NotRetryable(Status.SUCCESS)
        return batch, payload

    async def recent(
        self, bk_app_code: str, after: str | None, limit: int, wanted: Wanted
    ) -> tuple[list[Report], str | None]:
        """An application's requests that Redis knows, newest first, at most `limit`, going on after a request_id.

        Returns:
            Their reports, and after which request_id the next page goes on; None: there is none. A page may be shorter,
            empty even, and yet be followed by another.
        """
        ids, last = await reaching_redis(self._listing.page(bk_app_code, after, limit, wanted))
        reports = await reaching_redis(self.requests.load_many(ids))
        return [report for report in reports if report is not None], last

    async def find(self, bk_app_code: str, idempotency_key: str) -> Report:
        """The report of the request that an application submitted under a key; raises as `poll`."""
        request_id = await reaching_redis(self.requests.holder_of(bk_app_code, idempotency_key))
        if request_id is None:
            raise NotFound
        return await self.poll(request_id, bk_app_code)

    async def with_warnings(self, report: Report) -> Report:
        """An unfinished request's report with what the reader of its body ignored, which only its payload says."""
        if report.status.is_final:
            return report
        payload = await reaching_redis(self.requests.load_kept(report.request_id))
        return report if payload is None else report.model_copy(update={"warnings": payload.warnings})
