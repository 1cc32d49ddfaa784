"""For operators: whether the process lives, whether a request could end, what was counted."""

from typing import Final

import orjson
from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from api_shim.http.openapi import headers as described
from api_shim.http.port import CONFIGURATION_HEADER
from api_shim.http.state import state_of

router: Final = APIRouter(tags=["operations"])
_NO_STORE: Final = {"Cache-Control": "no-store"}


@router.get("/healthz", responses={200: {"headers": described("Cache-Control", CONFIGURATION_HEADER)}})
async def health(request: Request) -> Response:
    """200 as long as the process answers. Restart it when it does not."""
    headers = {**_NO_STORE, CONFIGURATION_HEADER: request.app.state.fingerprint}
    return Response(b'{"status":"ok"}', headers=headers, media_type="application/json")


@router.get(
    "/readyz",
    responses={
        200: {"headers": described("Cache-Control")},
        503: {"description": "Something named in `checks` is missing", "headers": described("Cache-Control")},
    },
)
async def readiness(request: Request) -> Response:
    """200 when a request that is sent now can end, else 503.

    That is: Redis takes a write (`redis` says which server did), the broker answers, a worker was seen lately, and one
    of those is served by PostgreSQL. Workers that are not say why in `paused`.
    """
    submitter = state_of(request).submitter
    checks = await submitter.health.ready()
    ready = all(checks.values())
    content = {
        "status": "ready" if ready else "not ready",
        "checks": checks,
        "redis": submitter.health.reached,
        "paused": submitter.health.paused,
    }
    return Response(orjson.dumps(content), 200 if ready else 503, headers=_NO_STORE, media_type="application/json")


@router.get("/metrics", responses={200: {"headers": described("Cache-Control")}}, response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Prometheus' text format."""
    state = state_of(request)
    state.metrics.open_waits.set(state.waits.count)
    await state.metrics.look(state.submitter)
    return Response(state.metrics.text(), headers={**_NO_STORE, "Content-Type": CONTENT_TYPE_LATEST})
