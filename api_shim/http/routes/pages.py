"""``/``: an application's own requests and jobs, for people."""

from contextlib import suppress
from typing import Final

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from api_shim.http.exchange import Style, exchange_of
from api_shim.http.pages.list import jobs_page, requests_page
from api_shim.http.pages.render import back
from api_shim.http.state import AppState, state_of
from api_shim.refusals import NotFound
from contract.answer.job import Job
from contract.answer.report import Report
from contract.request.idempotency import parse_idempotency_key

router: Final = APIRouter(include_in_schema=False)


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
        return await jobs_page(request, app)
    return await requests_page(request, app)


async def _find(state: AppState, app: str, asked: str) -> str | None:
    """The address of the request or job under an id or an idempotency key."""
    with suppress(NotFound):
        return _address(await state.jobs.either(asked, app))
    with suppress(NotFound):
        return _address(await state.jobs.under_key(parse_idempotency_key(asked, "query.id"), app))
    return None


def _address(found: Report | Job) -> str:
    return f"/v1/jobs/{found.job_id}" if isinstance(found, Job) else f"/v1/batches/{found.request_id}"
