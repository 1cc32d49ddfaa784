"""The page of one job."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from api_shim.http.exchange import exchange_of
from api_shim.http.listing import batches_of_job, items_of_job
from api_shim.http.pages import standing
from api_shim.http.pages.refusal import problems
from api_shim.http.pages.render import link, page
from api_shim.http.pages.request import ITEMS, with_advice
from api_shim.http.state import state_of
from contract.answer.job import Job, JobStatus
from contract.answer.report import Report

_GOOD = (JobStatus.PENDING, JobStatus.RUNNING, JobStatus.SUCCESS)


async def job_page(request: Request, job: Job, headers: Mapping[str, str]) -> Response:
    """How a job stands, and its batches, or with ``show=items`` its instances."""
    exchange, settings = exchange_of(request), state_of(request).settings
    document, counts = job.document(exchange.language, keep_days=settings.ledger_days), standing.of_job(job)
    errors = [] if job.status in _GOOD else [{"code": document["code"], "message": document["message"]}]
    values = {
        "job": document,
        "counts": counts,
        "segments": standing.segments(counts),
        "took_s": standing.took_s(job.created_at, job.finished_at if job.is_final else None),
        "problems": problems(errors, exchange.language),
        "actions": standing.actions(
            f"/v1/jobs/{job.job_id}", "bksi jobs", await _verbs(request, job), partial(link, exchange)
        ),
        "refresh_s": standing.refresh_s(headers),
        **(await _found(request, job)),
    }
    return page(exchange, "job.html", values, headers=headers)


async def _found(request: Request, job: Job) -> dict[str, Any]:
    if request.query_params.get("show") == "items":
        items, cursor = await items_of_job(request, job, ITEMS)
        return {"show": "items", "found": with_advice(items, exchange_of(request).language), "cursor": cursor}
    batches, cursor = await batches_of_job(request, job, ITEMS)
    return {"show": "batches", "found": [_line(*batch) for batch in batches], "cursor": cursor}


def _line(request_id: str, report: Report | None) -> dict[str, Any]:
    counts = standing.of_report(report) if report else {}
    return {
        "request_id": request_id,
        "status": report.status.value if report else "",
        "segments": standing.segments(counts),
    }


async def _verbs(request: Request, job: Job) -> list[str]:
    if not job.is_final and not job.is_cancelled:
        return ["cancel"]
    return ["retry"] if await state_of(request).jobs.is_retryable(job) else []
