"""The task: one message in, one stored report out. Read `Walk.run` from top to bottom to follow a request.

Once a request is leased, every way out of here leaves it in a state that names who carries on: its report is stored, or
its entry is back in the queue, or its lease runs out and the reaper sends it again. So from then on a message is
acknowledged whatever happens; what comes before is `worker.walk.take`'s.
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

import orjson
import structlog
from celery import Celery

from contract.answer.report import About, Report, report_expires_at
from contract.answer.status import DeliveryStatus, Item, Status, Warning_, failed_item
from contract.codes import Code, Refused
from contract.message import DELIVER_TASK_NAME, PUBLISH_TASK_NAME, TASK_NAME, Payload, summary
from contract.redis.connection import RedisError
from plumbing import traces
from plumbing.failpoints import async_failpoint
from plumbing.logs import frames_of
from plumbing.retrying import retrying
from plumbing.traces import Span
from worker.consumer.pool import CoroutineTask, message_header
from worker.custody.finish import decide, finish, given_up, publish, tell_end
from worker.custody.leases import Lease
from worker.delivery.task import deliver
from worker.expand.expand import CatalogueSlice, expand
from worker.metrics import HANDED_BACK, lane_of
from worker.postgres.draft import WriteRequest
from worker.postgres.errors import DatabaseError, is_retryable
from worker.walk.adopt import NotTrusted
from worker.walk.publish_again import publish_again
from worker.walk.take import BatchFailed, arguments_of, is_own_fault, not_taken, take

if TYPE_CHECKING:
    from worker.runtime import Runtime

_log = structlog.get_logger(__name__)
_RETRY_FOR_S: Final = 20.0
_FIRST_REST_S: Final = 1.0
"""Between the first two starts of a request that failed by its own doing; each further one is twice as long."""


def register(celery: Celery, runtime: "Runtime") -> None:
    """Give `celery` the tasks of a worker, which run in `runtime`."""

    def add(name: str, start: Callable[..., Coroutine[Any, Any, str]]) -> None:
        attributes = {"name": name, "throws": (BatchFailed,), "typing": False, "start": staticmethod(start)}
        task = type(name, (CoroutineTask,), {**attributes, "event_loop": staticmethod(lambda: runtime.loop)})
        celery.register_task(task())

    add(TASK_NAME, lambda **kwargs: Walk(runtime).run(kwargs))
    add(PUBLISH_TASK_NAME, lambda **kwargs: publish_again(runtime, kwargs))
    add(DELIVER_TASK_NAME, lambda **kwargs: deliver(runtime, kwargs))


class Walk:
    """One request on its way through the worker, with what is known of it by then."""

    def __init__(self, runtime: "Runtime") -> None:
        self._runtime = runtime
        self._leases = runtime.leases
        self._engine = runtime.engine
        self._lease: Lease
        self._payload: Payload

    async def run(self, kwargs: dict[str, Any]) -> str:
        """Take the lease, do the work, store the report; returns the line Flower shows as the task's result.

        Raises:
            BatchFailed: the request ended with ``result`` false, and its report says so; or its message is not trusted,
                and nothing is stored.
            Reject: no lease was to be had; the message goes back, see `worker.walk.take`.
        """
        with traces.span("run", parent=message_header("traceparent"), kind="consumer") as span:
            return await self._run(kwargs, span)

    async def _run(self, kwargs: dict[str, Any], span: Span) -> str:
        arguments = arguments_of(kwargs)
        span.set(request_id=arguments.request_id)
        async with AsyncExitStack() as held:
            try:
                with traces.span("lease"):
                    lease = await take(self._runtime, arguments, held)
            except NotTrusted as error:
                _log.warning("direct message refused", request_id=arguments.request_id, reason=str(error))
                raise BatchFailed(str(error)) from None
            except Exception as error:  # noqa: BLE001 - whatever it is, the message may be all there is of its request
                return await not_taken(self._runtime, arguments, error)
            try:
                if isinstance(lease, Report):
                    return _line(lease)
                self._lease = lease
                return await self._under_lease(lease, held)
            finally:
                await async_failpoint("before_ack", arguments.request_id)

    async def _under_lease(self, lease: Lease, held: AsyncExitStack) -> str:
        """Work under a lease and give it back, whatever happens; `held` is left before a pause."""
        if lease.state in ("held", "done", "unknown"):
            return lease.state
        walks, walk = self._runtime.walks, asyncio.current_task()
        assert walk is not None  # noqa: S101 - a coroutine of this loop is a task of it
        self._runtime.held_leases[lease.token] = lease
        walks.add(walk)
        try:
            return _line(await self._to_report())
        except BatchFailed:
            raise
        except asyncio.CancelledError as cancelled:
            # The process shuts down. The work is somebody else's now, and this task has to end in order.
            walk.uncancel()
            return await self._hand_back(cancelled, count_attempt=False)
        except Exception as error:  # noqa: BLE001 - whatever it is, the request must not stay without an owner
            counts = is_own_fault(self._runtime, lease.request_id, error)
            if counts:
                await held.aclose()
                await self._rest(walk)
            return await self._hand_back(error, count_attempt=counts)
        finally:
            walks.discard(walk)
            del self._runtime.held_leases[lease.token]

    async def _rest(self, walk: "asyncio.Task[Any]") -> None:
        """Hold a request for a while before its next start: what has failed it may be over then."""
        attempts = self._lease.attempts
        if attempts >= self._runtime.settings.max_attempts:
            return
        try:
            await asyncio.sleep(random.uniform(0.5, 1.5) * _FIRST_REST_S * 2 ** (attempts - 1))  # noqa: S311
        except asyncio.CancelledError:
            walk.uncancel()  # the process shuts down; somebody else may start it

    async def _to_report(self) -> Report:
        """Everything between lease and report."""
        lease = self._lease
        await async_failpoint("after_lease", lease.request_id)
        if lease.state == "cancelled":
            return await self._cancelled()
        async with self._lane():
            # Read no sooner than its turn has come: many that wait would take much memory.
            self._payload = Payload.load(lease.payload)
            report, dumped = await self._attempt()
        with traces.span("publish"):
            await publish(self._leases, report, dumped, lease.token)
        tell_end(report, lease.leased_at)
        if report.delivery is DeliveryStatus.PENDING and self._runtime.deliverer is not None:
            await self._runtime.deliverer.announce(report)
        return report

    async def _cancelled(self) -> Report:
        """End what its caller cancelled: this request, or the whole job that it is part of."""
        lease = self._lease
        if lease.payload:
            return await finish(self._leases, self._engine, Report.load(lease.payload))
        pending = await self._leases.load(lease.request_id)
        assert pending is not None  # noqa: S101 - its entry stays until its report is published
        report = given_up(pending, Code.CANCELLED, lease.now(), self._runtime.settings)
        return await finish(self._leases, self._engine, report)

    def _lane(self) -> AbstractAsyncContextManager[None]:
        """Where a request waits for its turn: only large ones do, so that small ones always get through."""
        return self._runtime.full_lane if lane_of(self._lease.count) == "large" else contextlib.nullcontext()

    async def _attempt(self) -> tuple[Report, bytes | None]:
        """How a request ends, as PostgreSQL has it, and the report's bytes where the ledger has had them made.

        What the database may take back is tried again, the rest is the caller's to know.

        Raises:
            DatabaseError: the database was away for longer than `_RETRY_FOR_S`.
        """
        if self._lease.state == "exhausted":
            return await self._decide(self._refusal(Refused(Code.DEAD_LETTER))), None
        try:
            async with asyncio.timeout(self._runtime.settings.attempt_timeout_s):
                return await retrying(self._write, on=is_retryable, for_s=_RETRY_FOR_S)
        except Refused as refused:
            return await self._decide(self._refusal(refused)), None

    async def _write(self) -> tuple[Report, bytes | None]:
        """Catalogue, rules, rows; raises `Refused` where the batch as a whole cannot be created."""
        request_id, caller, batch = self._lease.request_id, self._payload.caller, self._payload.batch
        hosts = batch.bk_host_ids
        with traces.span("plan"):
            catalogue = await self._catalogue(hosts)
            if catalogue.module and not catalogue.module.is_seen_by(caller.bk_supplier_account):
                catalogue = CatalogueSlice(module=None)
            plan = expand(catalogue, batch, request_id)
        about = self._about(plan.warnings)
        if plan.refused and batch.mode == "atomic":
            return await self._decide(Report.refused(plan.refused, hosts, **about)), None
        refused = [failed_item(index, hosts[index], why) for index, why in plan.refused.items()]
        request = WriteRequest(
            request_id=request_id,
            plan=plan,
            caller=caller,
            build_report=lambda items: self._settled([*items, *refused], about),
            attempt=self._lease.attempts,
            on_existing=batch.on_existing,
            mode=batch.mode,
            hosts=catalogue.hosts,
        )
        if self._is_dry_run:
            items = await self._runtime.writer.preview(request)
            return Report.previewed([*items, *refused], plan.preview(), **about), None
        await async_failpoint("before_write", request_id)
        written = await self._runtime.writer.write(request)
        if written.is_first:
            self._runtime.intake.wrote()
        await async_failpoint("after_write", request_id)
        # None: it ended so long ago that its report is gone. There is nothing to publish but that it is over.
        return written.report or self._refusal(Refused(Code.RESULT_EXPIRED)), written.dumped

    @property
    def _is_dry_run(self) -> bool:
        return self._payload.kind == "validate"

    def _about(self, warnings: Sequence[tuple[str, str]] = ()) -> About:
        """What every report of this request carries; `warnings` are added to the submitter's."""
        lease, payload = self._lease, self._payload
        now = lease.now()
        return About(
            request_id=lease.request_id,
            bk_app_code=payload.caller.bk_app_code,
            bk_biz_id=payload.batch.bk_biz_id,
            bk_module_id=payload.batch.bk_module_id,
            created_at=lease.created_at or now,
            finished_at=now,
            expires_at=report_expires_at(now, self._runtime.settings, in_ledger=not self._is_dry_run),
            attempts=lease.attempts,
            job=lease.job,
            warnings=(*payload.warnings, *(Warning_(path=path, reason=reason) for path, reason in warnings)),
        )

    def _refusal(self, refused: Refused) -> Report:
        """The report of a request that ends as a whole for one reason."""
        return Report.failed(refused, self._payload.batch.bk_host_ids, **self._about())

    def _settled(self, items: Sequence[Item], about: About) -> Report:
        """The report of what was written; where there is a CMDB, it is still to be handed on."""
        report = Report.settled(items, **about)
        if self._is_dry_run or self._runtime.deliverer is None or not report.statistics.success_count:
            return report
        return report.to_deliver(is_awaited=self._runtime.settings.answer_after == "delivery")

    async def _catalogue(self, hosts: Sequence[int]) -> CatalogueSlice:
        """What the catalogue knows of it; what it lacks is looked up in a CMDB that is configured."""
        catalogue, lookup, batch = self._runtime.catalogue, self._runtime.lookup, self._payload.batch
        found = await catalogue.slice(batch.bk_biz_id, batch.bk_module_id, hosts)
        if lookup is None or (found.module is not None and all(host in found.hosts for host in hosts)):
            return found
        lacking = [host for host in hosts if host not in found.hosts]
        if not await lookup.ask(batch.bk_biz_id, batch.bk_module_id, lacking, lacks_module=found.module is None):
            return found
        catalogue.look_again()
        return await catalogue.slice(batch.bk_biz_id, batch.bk_module_id, hosts)

    async def _decide(self, report: Report) -> Report:
        """End a request that writes no rows; a dry run leaves nothing in PostgreSQL, not even that it was refused."""
        return report if self._is_dry_run else await decide(self._engine, report)

    async def _hand_back(self, error: BaseException, *, count_attempt: bool) -> str:
        """Put the request back into the queue. Should that fail too, its lease runs out and the reaper does it."""
        lease = self._lease
        await async_failpoint("before_hand_back", lease.request_id)
        if lease.state == "cancelled":  # it was cancelled before any start: nobody holds it, and the reaper sends it
            return "handed back"
        HANDED_BACK.labels(type(error).__name__).inc()
        _log.warning(
            "handed back",
            request_id=lease.request_id,
            error=type(error).__name__,
            frames=[] if isinstance(error, DatabaseError) else frames_of(error),
        )
        batch = orjson.loads(lease.payload)["batch"]
        line = summary(batch["bk_biz_id"], batch["bk_module_id"], len(batch["instances"]))
        with contextlib.suppress(RedisError, OSError):
            headers = traces.headers(message_header("traceparent"))
            await self._runtime.queue.hand_back(lease, line, headers, count_attempt=count_attempt)
        return "handed back"


def _line(report: Report) -> str:
    """What Flower shows as the result; an unsuccessful request is a failed task there."""
    if report.status is not Status.SUCCESS and report.status.is_final:
        raise BatchFailed(f"{report.code}: {report.message()}")
    outcomes = Counter([item["outcome"] for item in report.items])
    return " ".join(f"{outcome.value}={count}" for outcome, count in sorted(outcomes.items()))
