"""``/``: an application's own requests and jobs, for people."""

from typing import Any, Final

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from api_shim.http.exchange import Exchange, Style, exchange_of
from api_shim.http.listing import own_jobs, own_requests
from api_shim.http.pages import standing
from api_shim.http.pages.render import back, page
from api_shim.http.state import AppState, state_of
from api_shim.http.submission import checked_key
from contract.answer.job import Job
from contract.answer.report import Report
from contract.answer.status import Status

router: Final = APIRouter(include_in_schema=False)
_ENTRIES: Final = 25


@router.get("/")
async def list_own(request: Request) -> Response:
    """The caller's own requests, or with ``show=jobs`` jobs; ``id`` goes to one of them."""
    state, exchange = state_of(request), exchange_of(request)
    if exchange.style is not Style.PAGE:
        raise HTTPException(404)
    app = (await state.admit(request, "poll")).caller.bk_app_code
    if (asked := request.query_params.get("id", "").strip()) and (found := await _find(state, app, asked)):
        return back(exchange, found) or Response()
    if request.query_params.get("show") == "jobs":
        jobs, cursor = await own_jobs(request, app, _ENTRIES)
        return _page(exchange, "jobs", [_of_job(job) for job in jobs], cursor)
    reports, cursor = await own_requests(request, app, _ENTRIES)
    return _page(exchange, "requests", [_of_report(report) for report in reports], cursor)


def _page(exchange: Exchange, show: str, found: list[dict[str, Any]], cursor: str | None) -> Response:
    statuses = [status.value for status in Status]
    return page(exchange, "list.html", {"show": show, "found": found, "cursor": cursor, "statuses": statuses})


async def _find(state: AppState, app: str, asked: str) -> str | None:
    """The address of the request or job under an id or an idempotency key."""
    found = await state.jobs.either(asked, app)
    if found is None:
        found = await state.jobs.under_key(checked_key(asked, "query.id"), app)
    if found is None:
        return None
    return f"/v1/jobs/{found.job_id}" if isinstance(found, Job) else f"/v1/batches/{found.request_id}"


def _of_report(report: Report) -> dict[str, Any]:
    return {
        "id": report.request_id,
        "path": f"/v1/batches/{report.request_id}",
        "total": report.statistics.total_count,
        "segments": standing.segments(standing.of_report(report)),
        **_alike(report),
    }


def _of_job(job: Job) -> dict[str, Any]:
    return {
        "id": job.job_id,
        "path": f"/v1/jobs/{job.job_id}",
        "total": job.accepted,
        "segments": standing.segments(standing.of_job(job)),
        **_alike(job),
    }


def _alike(entry: Report | Job) -> dict[str, Any]:
    return {
        "status": entry.status.value,
        "bk_biz_id": entry.bk_biz_id,
        "bk_module_id": entry.bk_module_id,
        "created_at": entry.created_at,
    }
