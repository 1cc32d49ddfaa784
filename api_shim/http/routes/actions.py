"""``/v1/batches``: list them, look at their items, cancel one, try one again."""

from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api_shim.http import openapi, openapi_answers
from api_shim.http.answers import finished, listed
from api_shim.http.exchange import Exchange, Style, exchange_of
from api_shim.http.listing import items_of_request, own_requests
from api_shim.http.pages.list import requests_page
from api_shim.http.pages.render import back
from api_shim.http.state import state_of, trace_headers
from contract.answer.document import report_document
from contract.answer.report import Report

router: Final = APIRouter(prefix="/v1", tags=["batches"])


@router.get("/batches", responses=openapi_answers.BATCHES, openapi_extra=openapi.LIST)
async def list_batches(request: Request) -> Response:
    """The caller's own requests, newest first; ``status``, ``bk_biz_id`` and ``bk_module_id`` narrow them down.

    A page may have fewer entries than ``limit``, none even, while ``next_cursor`` says that there are more to look at:
    go on until it is null. ``idempotency_key`` finds the one that was submitted under it.
    """
    state, exchange = state_of(request), exchange_of(request)
    app = (await state.admit(request, "poll")).caller.bk_app_code
    if exchange.style is Style.PAGE:
        return await requests_page(request, app)
    reports, cursor = await own_requests(request, app)
    return listed(exchange, "batches", [_summary(report, exchange) for report in reports], cursor)


@router.get("/batches/{request_id}/items", responses=openapi_answers.ITEMS, openapi_extra=openapi.ITEMS)
async def list_items(request: Request, request_id: str) -> Response:
    """What became of each instance, in the request's order; ``outcome`` narrows them down."""
    state, exchange = state_of(request), exchange_of(request)
    app = (await state.admit(request, "poll")).caller.bk_app_code
    report = await state.submitter.poll(request_id, app)
    exchange.request_id = request_id
    items, cursor = items_of_request(request, report)
    return listed(exchange, "items", items, cursor)


@router.post("/batches/{request_id}:cancel", responses=openapi_answers.CANCELLED)
async def cancel_batch(request: Request, request_id: str) -> Response:
    """End a request that no worker has started: TERMINATED, or 409 when it is too late."""
    state, exchange = state_of(request), exchange_of(request)
    identity = await state.admit_act(request)
    report = await state.submitter.cancel(request_id, identity.caller.bk_app_code)
    exchange.request_id = request_id
    return back(exchange, f"/v1/batches/{request_id}") or finished(exchange, report)


@router.post("/batches/{request_id}:retry", status_code=202, responses=openapi_answers.RETRIED)
async def retry_batch(request: Request, request_id: str) -> Response:
    """Submit a request that did not succeed again: 202 with the new request's ``Location``."""
    state, exchange = state_of(request), exchange_of(request)
    identity = await state.admit_act(request)
    app = identity.caller.bk_app_code
    old = await state.submitter.poll(request_id, app)
    identity.require_business(old.bk_biz_id)
    submitted = await state.submitter.retry(request_id, identity.caller, trace_headers(exchange))
    state.metrics.submitted(app, "retry", replayed=submitted.replayed)
    report = await state.submitter.poll(submitted.request_id, app)
    exchange.request_id = submitted.request_id
    path = f"/v1/batches/{submitted.request_id}"
    if (shown := back(exchange, path)) is not None:
        return shown
    return finished(exchange, report, 202, await state.accepted(path, replayed=submitted.replayed))


def _summary(report: Report, exchange: Exchange) -> dict[str, Any]:
    """A report without what has one entry per instance."""
    listed = report.model_copy(update={"items": (), "warnings": (), "preview": None})
    document = report_document(listed, exchange.language)
    for name in ("items", "warnings", "errors", "success_created", "error_msg"):
        document.pop(name, None)
    return document | {"bk_biz_id": report.bk_biz_id, "bk_module_id": report.bk_module_id}
