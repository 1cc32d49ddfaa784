"""``/v1/jobs``: any number of instances at once, as many batches of at most 100."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api_shim.http import openapi
from api_shim.http.answers import succeeded, whole_seconds
from api_shim.http.body import read_body
from api_shim.http.exchange import exchange_of
from api_shim.http.state import state_of, trace_headers
from api_shim.http.submission import idempotency_key, is_strict, understood
from api_shim.jobs import Jobs
from api_shim.refusals import BrokerUnavailable
from contract.answer.report import Report, Statistics
from contract.codes import Code, Refused
from contract.redis.jobs import Job
from contract.request.batch import MAX_INSTANCES
from contract.request.parse import BatchRefused, ParsedBatch, parse

router: Final = APIRouter(prefix="/v1", tags=["jobs"])
_INSTANCES: Final = "instances["


@router.post("/jobs", responses=openapi.RESPONSES, openapi_extra=openapi.SUBMIT_JOB)
async def submit_job(request: Request) -> Response:
    """Accept any number of instances: 202 with the job's ``Location``. Refused as a whole when any part is."""
    state, exchange = state_of(request), exchange_of(request)
    state.greet(request, "submit")
    body = await read_body(request)
    identity = await state.admit(request, "submit", body)
    parts = list(_parse(understood(request, body.content, identity), strict=is_strict(request)))
    identity.require_business(parts[0].batch.bk_biz_id)
    job = await Jobs(state.submitter).submit(
        parts,
        identity.caller,
        idempotency_key=idempotency_key(request, parts[0].client_request_id),
        headers=trace_headers(exchange),
    )
    exchange.request_id = job.job_id
    headers = {"Location": f"/v1/jobs/{job.job_id}"}
    with suppress(BrokerUnavailable):
        headers["Retry-After"] = whole_seconds(await state.retry_after())
    return succeeded(exchange, _document(job, []), 202, headers)


@router.get("/jobs/{job_id}", responses=openapi.RESPONSES)
async def poll_job(request: Request, job_id: str) -> Response:
    """The summed counters of a job, and how each of its batches stands."""
    state, exchange = state_of(request), exchange_of(request)
    identity = await state.admit(request, "poll")
    found = await Jobs(state.submitter).poll(job_id, identity.caller.bk_app_code)
    if found is None:
        raise Refused(Code.REQUEST_NOT_FOUND)
    exchange.request_id = job_id
    return succeeded(exchange, _document(*found), 200)


def _parse(body: dict[str, Any], *, strict: bool) -> Iterator[ParsedBatch]:
    """Each part as a batch; an error names the instance by its place in the whole job."""
    instances = body.get("instances")
    if not isinstance(instances, list) or not instances:
        yield parse(body, strict=strict)
        return
    for start in range(0, len(instances), MAX_INSTANCES):
        try:
            yield parse({**body, "instances": instances[start : start + MAX_INSTANCES]}, strict=strict)
        except BatchRefused as refused:
            raise BatchRefused(tuple(_moved(error, start) for error in refused.errors)) from None


def _moved(error: Refused, start: int) -> Refused:
    if not error.path.startswith(_INSTANCES):
        return error
    index, rest = error.path.removeprefix(_INSTANCES).split("]", 1)
    path = f"{_INSTANCES}{int(index) + start}]{rest}"
    return Refused(error.code, *(path if arg == error.path else arg for arg in error.message_args), path=path)


def _document(job: Job, reports: list[Report | None]) -> dict[str, Any]:
    known = [report for report in reports if report is not None]
    totals = {name: sum(getattr(report.statistics, name) for report in known) for name in Statistics.model_fields}
    if not reports:
        totals |= {"total_count": job.total, "pending_count": job.total}
    states: list[Report | None] = reports or [None] * len(job.request_ids)
    batches = [
        {"request_id": request_id, "status": report.status.value if report else None}
        for request_id, report in zip(job.request_ids, states, strict=True)
    ]
    created_at = job.created_at.isoformat()
    return {"job_id": job.job_id, "statistics": totals, "batches": batches, "created_at": created_at}
