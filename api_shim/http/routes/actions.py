"""``/v1/batches``: list them, look at their items, cancel one, try one again."""

from contextlib import suppress
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api_shim.http import openapi, openapi_answers
from api_shim.http.answers import finished, listed, whole_seconds
from api_shim.http.body import read_optional_body
from api_shim.http.exchange import Exchange, exchange_of
from api_shim.http.paging import number, one_of, page_limit
from api_shim.http.state import AppState, state_of, trace_headers
from api_shim.http.submission import checked_key
from api_shim.refusals import BrokerUnavailable
from contract.answer.items import Outcome, item_document
from contract.answer.report import Report
from contract.answer.status import Status
from contract.codes import Code, Refused
from contract.redis.listing import Wanted

router: Final = APIRouter(prefix="/v1", tags=["batches"])
_UNFINISHED: Final = (Status.PENDING.value, Status.RUNNING.value)


@router.get("/batches", responses=openapi_answers.BATCHES, openapi_extra=openapi.LIST)
async def list_batches(request: Request) -> Response:
    """The caller's own requests, newest first; ``status``, ``bk_biz_id`` and ``bk_module_id`` narrow them down.

    A page may have fewer entries than ``limit``, none even, while ``next_cursor`` says that there are more to look at:
    go on until it is null. ``idempotency_key`` finds the one that was submitted under it.
    """
    state, exchange = state_of(request), exchange_of(request)
    app = (await state.admit(request, "poll")).caller.bk_app_code
    query = request.query_params
    status = one_of(request, "status", [member.value for member in Status])
    wanted = {name: number(request, name) for name in ("bk_biz_id", "bk_module_id") if query.get(name)}
    limit = page_limit(request)
    after = state.cursors.read(f"batches {app}", query.get("cursor"))
    if key := query.get("idempotency_key"):
        one = await state.submitter.find(app, checked_key(key, "query.idempotency_key"))
        matching = [] if one is None or not _matches(one, status, wanted) else [one]
        return listed(exchange, "batches", [_summary(report, exchange) for report in matching], None)

    narrowed = Wanted("" if status in _UNFINISHED else status or "", status in _UNFINISHED, **wanted)
    reports, last = await state.submitter.recent(app, after, limit, narrowed)
    found = [_summary(report, exchange) for report in reports if _matches(report, status, wanted)]
    return listed(exchange, "batches", found, state.cursors.make(f"batches {app}", last) if last else None)


@router.get("/batches/{request_id}/items", responses=openapi_answers.ITEMS, openapi_extra=openapi.ITEMS)
async def list_items(request: Request, request_id: str) -> Response:
    """What became of each instance, in the request's order; ``outcome`` narrows them down."""
    state, exchange = state_of(request), exchange_of(request)
    app = (await state.admit(request, "poll")).caller.bk_app_code
    outcome = one_of(request, "outcome", [member.value for member in Outcome])
    purpose = f"items {request_id}"
    after = int(state.cursors.read(purpose, request.query_params.get("cursor")) or -1)
    limit = page_limit(request)
    report = await _known(state, request_id, app)
    exchange.request_id = request_id
    items = [item for item in report.items if item["index"] > after and outcome in (None, item["outcome"].value)]
    cursor = state.cursors.make(purpose, str(items[limit - 1]["index"])) if len(items) > limit else None
    return listed(exchange, "items", [item_document(item, exchange.language) for item in items[:limit]], cursor)


@router.post("/batches/{request_id}:cancel", responses=openapi_answers.CANCELLED)
async def cancel_batch(request: Request, request_id: str) -> Response:
    """End a request that no worker has started: TERMINATED, or 409 when it is too late."""
    state, exchange = state_of(request), exchange_of(request)
    state.greet(request, "submit")
    identity = await state.admit(request, "submit", await read_optional_body(request))
    report = await state.submitter.cancel(request_id, identity.caller.bk_app_code)
    if report is None:
        raise Refused(Code.REQUEST_NOT_FOUND)
    exchange.request_id = request_id
    return finished(exchange, report)


@router.post("/batches/{request_id}:retry", status_code=202, responses=openapi_answers.RETRIED)
async def retry_batch(request: Request, request_id: str) -> Response:
    """Submit a request that did not succeed again: 202 with the new request's ``Location``."""
    state, exchange = state_of(request), exchange_of(request)
    state.greet(request, "submit")
    identity = await state.admit(request, "submit", await read_optional_body(request))
    old = await _known(state, request_id, identity.caller.bk_app_code)
    identity.require_business(old.bk_biz_id)
    submitted = await state.submitter.retry(request_id, identity.caller, trace_headers(exchange))
    if submitted is None:
        raise Refused(Code.REQUEST_NOT_FOUND)
    state.metrics.submitted(identity.caller.bk_app_code, "retry", replayed=submitted.replayed)
    report = await _known(state, submitted.request_id, identity.caller.bk_app_code)
    exchange.request_id = submitted.request_id
    headers = {"Location": f"/v1/batches/{submitted.request_id}"}
    if submitted.replayed:
        headers["Idempotent-Replayed"] = "true"
    with suppress(BrokerUnavailable):
        headers["Retry-After"] = whole_seconds(await state.retry_after())
    return finished(exchange, report, 202, headers)


async def _known(state: AppState, request_id: str, bk_app_code: str) -> Report:
    report = await state.submitter.poll(request_id, bk_app_code)
    if report is None:
        raise Refused(Code.REQUEST_NOT_FOUND)
    return report


def _summary(report: Report, exchange: Exchange) -> dict[str, Any]:
    """A report without what has one entry per instance."""
    document = report.model_copy(update={"items": (), "warnings": (), "preview": None}).document(exchange.language)
    for name in ("items", "warnings", "errors", "success_created", "error_msg"):
        document.pop(name, None)
    return document | {"bk_biz_id": report.bk_biz_id, "bk_module_id": report.bk_module_id}


def _matches(report: Report, status: str | None, wanted: dict[str, int]) -> bool:
    return status in (None, report.status.value) and all(
        getattr(report, name) == value for name, value in wanted.items()
    )
