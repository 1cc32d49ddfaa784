"""``/v1/jobs``: any number of instances, as many batches of at most 100, under one id."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Final

import orjson
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from api_shim.http import openapi, openapi_answers
from api_shim.http.answers import listed, said, whole_seconds, with_etag
from api_shim.http.exchange import Exchange, Style, all_of, exchange_of, names, preferred_wait
from api_shim.http.job_parts import charge, cut
from api_shim.http.listing import batches_of_job, every_item_of_job, items_of_job, own_jobs
from api_shim.http.pages.job import job_page
from api_shim.http.pages.list import jobs_page
from api_shim.http.pages.render import back
from api_shim.http.routes.batches import idempotency_key, is_strict, understood
from api_shim.http.state import AppState, state_of, trace_headers
from api_shim.http.stream import NDJSON, open_job_body
from api_shim.jobs import Received
from contract.answer.job import Job
from contract.answer.report import Report
from contract.request.parse import ParsedBatch

router: Final = APIRouter(prefix="/v1", tags=["jobs"])


@router.post("/jobs", status_code=202, responses=openapi_answers.JOB_ACCEPTED, openapi_extra=openapi_answers.SUBMIT_JOB)
async def submit_job(request: Request) -> Response:
    """Accept any number of instances: 202 with the job's ``Location`` once the last one is.

    A JSON body of up to 4 MiB is refused as a whole when any part of it is wrong. A longer one, or NDJSON, is accepted
    as it arrives: what was accepted before an error is carried out, and the same key goes on after it.
    """
    state, exchange = state_of(request), exchange_of(request)
    state.greet(request, "submit")
    with state.uploads.one():
        received = await _receive(request, state, exchange)
    return await _accepted(state, exchange, received)


@router.get("/jobs", responses=openapi_answers.JOBS, openapi_extra=openapi.PAGED)
async def list_jobs(request: Request) -> Response:
    """The caller's own jobs, newest first."""
    state, exchange = state_of(request), exchange_of(request)
    app = (await state.admit(request, "poll")).caller.bk_app_code
    if exchange.style is Style.PAGE:
        return await jobs_page(request, app)
    jobs, cursor = await own_jobs(request, app)
    return listed(exchange, "jobs", [_document(state, exchange, job) for job in jobs], cursor)


@router.get("/jobs/{job_id}", responses=openapi_answers.JOB_FOUND, openapi_extra=openapi.POLL)
async def poll_job(request: Request, job_id: str) -> Response:
    """How a job stands. ``Prefer: wait=N`` answers as soon as it ends, or after N seconds."""
    state, exchange = state_of(request), exchange_of(request)
    app = (await state.admit(request, "poll")).caller.bk_app_code
    wait = preferred_wait(all_of(request.headers, "prefer"), state.settings.max_wait_s)
    with state.waits.kept(app, wait or 0, request.receive) as (granted, left):
        job = await state.jobs.wait(job_id, app, granted, left)
    headers = {} if wait is None else {"Preference-Applied": f"wait={wait}"}
    exchange.request_id = job_id
    if not job.is_final:
        headers["Retry-After"] = whole_seconds(await state.submitter.backlog.retry_after())
    if exchange.style is Style.PAGE:
        answer = await job_page(request, job, headers)
    else:
        answer = _answer(state, exchange, job, 200, headers)
    return with_etag(answer, all_of(request.headers, "if-none-match"))


@router.get("/jobs/{job_id}/batches", responses=openapi_answers.JOB_BATCHES, openapi_extra=openapi.PAGED)
async def list_job_batches(request: Request, job_id: str) -> Response:
    """The batches of a job in the order of its instances: ``request_id``, ``status`` and ``statistics`` of each."""
    state, exchange = state_of(request), exchange_of(request)
    app = (await state.admit(request, "poll")).caller.bk_app_code
    job = await state.jobs.find(job_id, app)
    exchange.request_id = job_id
    found, cursor = await batches_of_job(request, job)
    return listed(exchange, "batches", [_summary(id_, report) for id_, report in found], cursor)


@router.get("/jobs/{job_id}/items", responses=openapi_answers.JOB_ITEMS, openapi_extra=openapi.ITEMS)
async def list_job_items(request: Request, job_id: str) -> Response:
    """What became of each instance whose batch has ended, by its place in the job; ``outcome`` narrows it down.

    With ``Accept: application/x-ndjson`` all of them, one a line, as a download.
    """
    state, exchange = state_of(request), exchange_of(request)
    app = (await state.admit(request, "poll")).caller.bk_app_code
    job = await state.jobs.find(job_id, app)
    exchange.request_id = job_id
    if names(all_of(request.headers, "accept"), NDJSON):
        items = await every_item_of_job(request, job)
        lines = (orjson.dumps(item, option=orjson.OPT_APPEND_NEWLINE) async for item in items)
        name = f'attachment; filename="{job_id}.ndjson"'
        headers = {"Content-Disposition": name, "Cache-Control": "no-store", "X-Request-Id": job_id}
        return StreamingResponse(lines, headers=headers, media_type=NDJSON)
    found, cursor = await items_of_job(request, job)
    return listed(exchange, "items", found, cursor)


@router.post("/jobs/{job_id}:cancel", responses=openapi_answers.JOB_CANCELLED)
async def cancel_job(request: Request, job_id: str) -> Response:
    """Begin nothing of a job that has not begun; 409 when all of it has ended."""
    state, exchange = state_of(request), exchange_of(request)
    identity = await state.admit_act(request)
    job = await state.jobs.cancel(job_id, identity.caller.bk_app_code)
    exchange.request_id = job_id
    return back(exchange, f"/v1/jobs/{job_id}") or _answer(state, exchange, job, 200)


@router.post("/jobs/{job_id}:retry", status_code=202, responses=openapi_answers.JOB_RETRIED)
async def retry_job(request: Request, job_id: str) -> Response:
    """Submit what did not succeed of a job again, and what CMDB has refused, as a new job: 202, its ``Location``."""
    state, exchange = state_of(request), exchange_of(request)
    identity = await state.admit_act(request)
    old = await state.jobs.find(job_id, identity.caller.bk_app_code)
    identity.require_business(old.bk_biz_id)
    received = await state.jobs.retry(job_id, identity.caller, partial(_begun, exchange))
    return back(exchange, exchange.location) or await _accepted(state, exchange, received)


async def _receive(request: Request, state: AppState, exchange: Exchange) -> Received:
    body = await open_job_body(request, state.settings.max_job_bytes, lambda: state.waits.is_draining)
    identity = await state.admit(request, "submit", (body.whole or b"", body.head))
    head = understood(request, body.head, identity)
    parts = cut(head, body.instances, strict=is_strict(request))
    if body.whole is not None:
        parts = _each([part async for part in parts])
    first = await anext(parts)
    identity.require_business(first.batch.bk_biz_id)
    return await state.jobs.receive(
        first,
        parts,
        identity.caller,
        begun=partial(_begun, exchange),
        added=partial(state.metrics.submitted, identity.caller.bk_app_code, "job"),
        idempotency_key=idempotency_key(request, first.client_request_id),
        charge=partial(charge, state, identity),
        headers=trace_headers(exchange),
    )


def _begun(exchange: Exchange, job_id: str) -> None:
    """From now on every answer names the job, a refusal too."""
    exchange.request_id = job_id
    exchange.location = f"/v1/jobs/{job_id}"


async def _each(parts: list[ParsedBatch]) -> AsyncIterator[ParsedBatch]:
    for part in parts:
        yield part


async def _accepted(state: AppState, exchange: Exchange, received: Received) -> Response:
    headers = await state.accepted(exchange.location, replayed=received.replayed)
    return _answer(state, exchange, received.job, 202, headers)


def _answer(
    state: AppState, exchange: Exchange, job: Job, status: int, headers: dict[str, str] | None = None
) -> Response:
    return said(exchange, _document(state, exchange, job), status, headers)


def _document(state: AppState, exchange: Exchange, job: Job) -> dict[str, Any]:
    return job.document(exchange.language, keep_days=state.settings.ledger_days)


def _summary(request_id: str, report: Report | None) -> dict[str, Any]:
    if report is None:
        return {"request_id": request_id, "status": None, "code": None, "statistics": None}
    return {
        "request_id": request_id,
        "status": report.status.value,
        "code": int(report.code) if report.status.is_final else 0,
        "statistics": report.statistics.counters(),
    }
