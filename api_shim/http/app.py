"""The HTTP application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import product
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from api_shim.http.answers import refusal
from api_shim.http.body import BodyBroken
from api_shim.http.cursor import Cursors
from api_shim.http.exchange import exchange_of
from api_shim.http.metrics import Metrics
from api_shim.http.middleware import Frame
from api_shim.http.open_uploads import OpenUploads
from api_shim.http.open_waits import OpenWaits
from api_shim.http.openapi import REFUSAL_RESPONSES
from api_shim.http.openapi_answers import SECURITY, SECURITY_SCHEMES
from api_shim.http.openapi_body import SCHEMAS
from api_shim.http.openapi_codes import DESCRIPTION
from api_shim.http.port import fingerprint
from api_shim.http.routes import actions, batches, compat, jobs
from api_shim.http.routes import health as operations
from api_shim.http.state import AppState
from api_shim.identity.applications import Applications
from api_shim.identity.doorkeeper import Doorkeeper
from api_shim.jobs import Jobs
from api_shim.submitter import Submitter
from contract.codes import Code, Refused
from contract.request.parse import BatchRefused
from contract.settings import Settings


def create_app(settings: Settings) -> FastAPI:
    """The ASGI application, which opens its connections to Redis when it is started.

    ``app.state.bksi.waits.drain()`` lets every waiting caller go at once; a server calls it when it is told to stop.

    Raises:
        TomlFileInvalid: the file of applications cannot be used.
        ValueError: a trusted proxy is no address or network.
    """
    applications = Applications.load(settings.apps_file) if settings.apps_file else None
    doorkeeper = Doorkeeper(applications, settings.trusted_proxies)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        metrics = Metrics()
        async with Submitter.open(settings, metrics.redis_seconds.observe) as submitter:
            app.state.bksi = AppState(
                settings,
                submitter,
                doorkeeper,
                OpenWaits(submitter, settings),
                metrics,
                Cursors(settings),
                Jobs(submitter, settings),
                OpenUploads(settings.max_open_uploads),
            )
            yield

    # FastAPI's own /docs makes browsers load its scripts from elsewhere; many of our networks reach nothing there.
    app = FastAPIOffline(
        redoc_url=None,
        title="Batch creation of service instances",
        description=DESCRIPTION,
        version="1",
        lifespan=lifespan,
        # A redirect makes old clients repeat a POST as a GET.
        redirect_slashes=False,
    )
    app.state.fingerprint = fingerprint(settings)
    document = app.openapi

    def with_schemas() -> dict[str, Any]:
        described = document()
        components = described.setdefault("components", {})
        components.setdefault("schemas", {}).update(SCHEMAS)
        components["responses"] = REFUSAL_RESPONSES
        components["securitySchemes"] = SECURITY_SCHEMES
        described["security"] = SECURITY
        _keep_nulls(described)
        return described

    app.openapi = with_schemas  # type: ignore[method-assign] # FastAPI's documented way
    for router in (compat.router, batches.router, actions.router, jobs.router, operations.router):
        app.include_router(router)
    app.add_exception_handler(BatchRefused, _batch_refused)
    handle_refusals(app)
    app.add_middleware(Frame)
    return app


def _keep_nulls(described: dict[str, Any]) -> None:
    """FastAPI drops every null from its document, those of the examples too."""
    for router in (compat.router, batches.router, actions.router, jobs.router):
        for route in router.routes:
            assert isinstance(route, APIRoute)  # noqa: S101 - our routers have no other
            for method, (status, answer) in product(route.methods or (), route.responses.items()):
                if "content" in answer:
                    operation = described["paths"][route.path][method.lower()]
                    operation["responses"][str(status)]["content"] = answer["content"]


def handle_refusals(app: FastAPI) -> None:
    """Answer what a route refuses, and a wrong path or method, in the style of its path."""
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(BodyBroken, _body_broken)
    app.add_exception_handler(HTTPException, _no_route)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)  # noqa: S101 - registered for nothing else
    return refusal(exchange_of(request), [error])


async def _body_broken(request: Request, error: Exception) -> Response:
    """The transport's own failure: no SDK reads an envelope there, and a proxy should see it."""
    assert isinstance(error, BodyBroken)  # noqa: S101 - registered for nothing else
    return refusal(exchange_of(request), [error], status=400, headers={"Connection": "close"})


async def _batch_refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, BatchRefused)  # noqa: S101 - registered for nothing else
    return refusal(exchange_of(request), error.errors)


async def _no_route(request: Request, error: Exception) -> Response:
    """404 and 405 are what the router says; a wrong path or method keeps its status everywhere."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    path = "method" if error.status_code == 405 else "path"
    return refusal(
        exchange_of(request),
        [Refused(Code.COMPONENT_NOT_FOUND, path=path)],
        status=error.status_code,
        headers=error.headers,
    )
