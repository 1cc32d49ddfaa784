"""``/v1/batches``: submit, validate, poll."""

from contextlib import suppress
from typing import Final, Literal

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api_shim.http import openapi, openapi_answers
from api_shim.http.answers import finished, whole_seconds, with_etag
from api_shim.http.exchange import Style, exchange_of
from api_shim.http.negotiation import preferred_wait
from api_shim.http.pages.request import request_page
from api_shim.http.state import state_of
from api_shim.http.submission import submit
from api_shim.refusals import BrokerUnavailable
from contract.codes import Code, Refused

router: Final = APIRouter(prefix="/v1", tags=["batches"])


@router.post("/batches", responses=openapi_answers.SUBMITTED, openapi_extra=openapi.SUBMIT)
async def submit_batch(request: Request) -> Response:
    """Accept a batch: 202 with its ``Location``, or 200 when it ended within ``Prefer: wait=N``."""
    return await _accept(request, "create", preferred_wait(request.headers.get("prefer"), _maximum(request)))


@router.post("/batches:validate", responses=openapi_answers.SUBMITTED, openapi_extra=openapi.SUBMIT)
async def validate_batch(request: Request) -> Response:
    """What a worker would create, find or refuse; nothing is written. Waits for the outcome unless told otherwise."""
    wait = preferred_wait(request.headers.get("prefer"), _maximum(request))
    return await _accept(request, "validate", int(_maximum(request)) if wait is None else wait)


@router.get("/batches/{request_id}", responses=openapi_answers.FOUND, openapi_extra=openapi.POLL)
async def poll_batch(request: Request, request_id: str) -> Response:
    """How a request stands. ``Prefer: wait=N`` answers as soon as it ends, or after N seconds."""
    state, exchange = state_of(request), exchange_of(request)
    identity = await state.admit(request, "poll")
    wait = preferred_wait(request.headers.get("prefer"), state.settings.max_wait_s)
    report = await state.waits.until_final(request_id, identity.caller.bk_app_code, wait or 0, request.receive)
    if report is None:
        raise Refused(Code.REQUEST_NOT_FOUND)
    exchange.request_id = request_id
    headers = {} if wait is None else {"Preference-Applied": f"wait={wait}"}
    if not report.status.is_final:
        headers["Retry-After"] = whole_seconds(await state.retry_after())
    if exchange.style is Style.PAGE:
        answer = request_page(request, await state.submitter.with_warnings(report), headers)
    else:
        answer = finished(exchange, report, headers=headers)
    return with_etag(answer, request.headers.get("if-none-match"))


async def _accept(request: Request, kind: Literal["create", "validate"], wait: int | None) -> Response:
    state, exchange = state_of(request), exchange_of(request)
    accepted = await submit(request, kind=kind)
    app = accepted.identity.caller.bk_app_code
    headers = {"Location": f"/v1/batches/{accepted.request_id}"}
    if accepted.replayed:
        headers["Idempotent-Replayed"] = "true"
    report = await state.waits.after_submit(accepted.request_id, app, wait or 0, request.receive)
    if report is None and accepted.replayed:
        report = await state.submitter.poll(accepted.request_id, app)
    if report is None or not (report.status.is_final or accepted.replayed):
        report = accepted.report()
    if report.status.is_final:
        if wait is not None and "prefer" in request.headers:
            headers["Preference-Applied"] = f"wait={wait}"
        return finished(exchange, report, 200, headers)
    with suppress(BrokerUnavailable):
        headers["Retry-After"] = whole_seconds(await state.retry_after())
    return finished(exchange, report, 202, headers)


def _maximum(request: Request) -> float:
    return state_of(request).settings.max_wait_s
