"""The page of an application's own requests or jobs."""

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from api_shim.http.exchange import exchange_of
from api_shim.http.listing import own_jobs, own_requests
from api_shim.http.pages import standing
from api_shim.http.pages.render import page
from contract.answer.job import Job
from contract.answer.report import Report
from contract.answer.status import Status

_ENTRIES: Final = 25


async def requests_page(request: Request, app: str) -> Response:
    """Its requests, newest first, as the query narrows them down."""
    reports, cursor = await own_requests(request, app, _ENTRIES)
    return _page(request, "requests", [_of_report(report) for report in reports], cursor)


async def jobs_page(request: Request, app: str) -> Response:
    """Its jobs, newest first."""
    jobs, cursor = await own_jobs(request, app, _ENTRIES)
    return _page(request, "jobs", [_of_job(job) for job in jobs], cursor)


def _page(request: Request, show: str, found: list[dict[str, Any]], cursor: str | None) -> Response:
    statuses = [status.value for status in Status]
    values = {"show": show, "found": found, "cursor": cursor, "statuses": statuses}
    return page(exchange_of(request), "list.html", values)


def _of_report(report: Report) -> dict[str, Any]:
    return {
        "id": report.request_id,
        "path": f"/v1/batches/{report.request_id}",
        "is_dry_run": report.preview is not None,
        "total": report.statistics.total_count,
        "segments": standing.segments(standing.of_report(report)),
        **_alike(report),
    }


def _of_job(job: Job) -> dict[str, Any]:
    return {
        "id": job.job_id,
        "path": f"/v1/jobs/{job.job_id}",
        "is_dry_run": False,
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
