"""The page of one request."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response

from api_shim.http.exchange import exchange_of
from api_shim.http.listing import items_of_request
from api_shim.http.pages import standing
from api_shim.http.pages.refusal import advice, problems
from api_shim.http.pages.render import link, page
from api_shim.http.state import state_of
from api_shim.submitter import Submitter
from contract.answer.document import report_document
from contract.answer.report import Report
from contract.answer.status import Outcome, Status
from contract.codes import Language

ITEMS: Final = 50
"""Instances on a page."""


async def request_page(request: Request, report: Report, headers: Mapping[str, str]) -> Response:
    """How a request stands, and what became of each instance."""
    exchange, submitter = exchange_of(request), state_of(request).submitter
    report, verbs = await submitter.with_warnings(report), await _verbs(submitter, report)
    document, counts = report_document(report, exchange.language), standing.of_report(report)
    items, cursor = items_of_request(request, report, ITEMS)
    path = f"/v1/batches/{report.request_id}"
    preview = document.get("preview")
    values = {
        "report": document,
        "bk_biz_id": report.bk_biz_id,
        "bk_module_id": report.bk_module_id,
        "is_final": report.status.is_final,
        "counts": counts,
        "segments": standing.segments(counts),
        "took_s": standing.took_s(report.created_at, report.finished_at),
        "problems": problems(_errors(report, document), exchange.language),
        "found": with_advice(items, exchange.language),
        "cursor": cursor,
        "actions": standing.actions(path, "bksi", verbs, partial(link, exchange)),
        "preview": preview and orjson.dumps(preview, option=orjson.OPT_INDENT_2).decode(),
        "refresh_s": standing.refresh_s(headers),
    }
    return page(exchange, "request.html", values, headers=headers)


def with_advice(items: list[dict[str, Any]], language: Language) -> list[dict[str, Any]]:
    """Each instance that failed with what to do; one that was skipped has nothing wrong with it."""
    return [
        {**item, "advice": advice(item["code"], language) if item["outcome"] == Outcome.FAILED else ""}
        for item in items
    ]


def _errors(report: Report, document: dict[str, Any]) -> list[dict[str, Any]]:
    if document["errors"] or not report.status.is_final or report.status is Status.SUCCESS:
        return list(document["errors"])
    return [{"path": report.path, "code": document["code"], "message": document["message"]}]


async def _verbs(submitter: Submitter, report: Report) -> list[str]:
    if report.status is Status.PENDING:
        return ["cancel"]
    return ["retry"] if await submitter.is_retryable(report) else []
