"""The paths that BlueKing callers use today: ESB's and CMDB's own. They wait for the rows, and answer HTTP 200."""

from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api_shim.http import openapi
from api_shim.http.answers import finished, still_running
from api_shim.http.exchange import ESB_PATHS, NATIVE_PATH, exchange_of
from api_shim.http.openapi_body import COMPAT_BODY
from api_shim.http.state import state_of
from api_shim.http.submission import submit

router: Final = APIRouter(tags=["compat"])


async def create_service_instance(request: Request) -> Response:
    """Create service instances and wait for them, as CMDB does.

    Answers 200 with the six keys. While the worker is still busy after ``COMPAT_WAIT_S`` the code is 1190001 and the
    request goes on; the same body again attaches to it.
    """
    state, exchange = state_of(request), exchange_of(request)
    accepted = await submit(request)
    report = await state.waits.after_submit(
        accepted.request_id, accepted.identity.caller.bk_app_code, state.settings.compat_wait_s, request.receive
    )
    if report is None or not report.status.is_final:
        return still_running(exchange)
    return finished(exchange, report)


for _path in (*ESB_PATHS, NATIVE_PATH):
    router.add_api_route(
        _path,
        create_service_instance,
        methods=["POST"],
        operation_id=f"create_service_instance_{len(router.routes)}",
        responses=openapi.COMPAT_RESPONSES,
        openapi_extra={"requestBody": COMPAT_BODY},
    )
