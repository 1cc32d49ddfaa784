"""Pages of lists, for programs and for people alike: the entries, and the cursor of the next page or None."""

from collections.abc import AsyncIterator
from typing import Any, Final

from starlette.requests import Request

from api_shim.http.exchange import exchange_of
from api_shim.http.paging import PAGE, number, one_of, page_limit
from api_shim.http.state import AppState, state_of
from api_shim.refusals import NotFound
from contract.answer.document import item_document
from contract.answer.job import Job, items_of
from contract.answer.report import Report
from contract.answer.status import Outcome, Status
from contract.redis.listing import Wanted
from contract.request.idempotency import parse_idempotency_key

_BATCHES_AT_ONCE: Final = 50
_BEGIN: Final = "0 0"
_UNFINISHED: Final = (Status.PENDING.value, Status.RUNNING.value)


async def own_requests(request: Request, app: str, size: int = PAGE) -> tuple[list[Report], str | None]:
    """An application's own requests, newest first, as the query narrows them down."""
    state, query = state_of(request), request.query_params
    status = one_of(request, "status", [member.value for member in Status])
    wanted = {name: number(request, name) for name in ("bk_biz_id", "bk_module_id") if query.get(name)}
    limit = page_limit(request, size)
    after = state.cursors.read(f"batches {app}", query.get("cursor"))
    if (key := query.get("idempotency_key")) is not None:
        try:
            one = await state.submitter.find(app, parse_idempotency_key(key, "query.idempotency_key"))
        except NotFound:
            return [], None
        return [one] if _matches(one, status, wanted) else [], None

    narrowed = Wanted("" if status in _UNFINISHED else status or "", status in _UNFINISHED, **wanted)
    reports, last = await state.submitter.recent(app, after, limit, narrowed)
    found = [report for report in reports if _matches(report, status, wanted)]
    return found, state.cursors.make(f"batches {app}", last) if last else None


def items_of_request(request: Request, report: Report, size: int = PAGE) -> tuple[list[dict[str, Any]], str | None]:
    """What became of each instance of a request, in its order, as the query narrows them down."""
    state, purpose = state_of(request), f"items {report.request_id}"
    outcome, limit = _outcome(request), page_limit(request, size)
    after = int(state.cursors.read(purpose, request.query_params.get("cursor")) or -1)
    items = [item for item in report.items if item["index"] > after and outcome in (None, item["outcome"].value)]
    cursor = state.cursors.make(purpose, str(items[limit - 1]["index"])) if len(items) > limit else None
    language, is_handed_on = exchange_of(request).language, report.delivery is not None
    return [item_document(item, language, is_handed_on=is_handed_on) for item in items[:limit]], cursor


async def own_jobs(request: Request, app: str, size: int = PAGE) -> tuple[list[Job], str | None]:
    """An application's own jobs, newest first."""
    state = state_of(request)
    purpose, limit = f"jobs of {app}", page_limit(request, size)
    after = state.cursors.read(purpose, request.query_params.get("cursor"))
    found, last = await state.jobs.recent(app, after, limit)
    return found, state.cursors.make(purpose, last) if last else None


async def batches_of_job(
    request: Request, job: Job, size: int = PAGE
) -> tuple[list[tuple[str, Report | None]], str | None]:
    """The batches of a job in the order of its instances: the id of each, and its report if it is known."""
    state = state_of(request)
    purpose, limit = f"job batches {job.job_id}", page_limit(request, size)
    start = int(state.cursors.read(purpose, request.query_params.get("cursor")) or 0)
    found = await state.jobs.batches(job, start, limit + 1)
    return found[:limit], state.cursors.make(purpose, str(start + limit)) if len(found) > limit else None


async def items_of_job(request: Request, job: Job, size: int = PAGE) -> tuple[list[dict[str, Any]], str | None]:
    """What became of each instance of a job whose batch has ended, as the query narrows them down."""
    state, purpose, limit = state_of(request), f"job items {job.job_id}", page_limit(request, size)
    begin = state.cursors.read(purpose, request.query_params.get("cursor")) or _BEGIN
    found: list[dict[str, Any]] = []
    async for item, place in _items(request, job, _outcome(request), begin):
        if len(found) == limit:
            return found, state.cursors.make(purpose, place)
        found.append(item)
    return found, None


async def every_item_of_job(request: Request, job: Job) -> AsyncIterator[dict[str, Any]]:
    """The same without pages. What is wrong by the first of them, with the query or with Redis, is said at once."""
    items = _items(request, job, _outcome(request), _BEGIN)
    first = await anext(items, None)

    async def all_of_them() -> AsyncIterator[dict[str, Any]]:
        if first is not None:
            yield first[0]
        async for item, _ in items:
            yield item

    return all_of_them()


async def _items(
    request: Request, job: Job, wanted: str | None, begin: str
) -> AsyncIterator[tuple[dict[str, Any], str]]:
    """Items from a place on (batch, index in it), each with its own place."""
    language = exchange_of(request).language
    number, index = map(int, begin.split(" "))
    async for batch, report in _reports(state_of(request), job, wanted, number):
        first = report.job.first if report.job else 0
        for item in items_of(report):
            if wanted in (None, item["outcome"].value) and (batch, item["index"]) >= (number, index):
                document = item_document(item, language, is_handed_on=report.delivery is not None)
                document["index"] += first
                yield document, f"{batch} {item['index']}"


async def _reports(state: AppState, job: Job, wanted: str | None, number: int) -> AsyncIterator[tuple[int, Report]]:
    """The reports of the batches that have ended, in order; where only failures are wanted, no others are read."""
    only_failed = wanted in (Outcome.FAILED, Outcome.SKIPPED)
    while True:
        if only_failed:
            page = await state.jobs.failed_batches(job, number, _BATCHES_AT_ONCE)
        else:
            found = await state.jobs.batches(job, number, _BATCHES_AT_ONCE)
            page = [(number + place, id_, report) for place, (id_, report) in enumerate(found)]
        for place, _, report in page:
            if report is not None and report.status.is_final:
                yield place, report
        if len(page) < _BATCHES_AT_ONCE:
            return
        number = page[-1][0] + 1


def _outcome(request: Request) -> str | None:
    return one_of(request, "outcome", [member.value for member in Outcome])


def _matches(report: Report, status: str | None, wanted: dict[str, int]) -> bool:
    return status in (None, report.status.value) and all(
        getattr(report, name) == value for name, value in wanted.items()
    )
