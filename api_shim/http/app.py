"""The HTTP application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import product
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from api_shim.http.bare_app import bare_app
from api_shim.http.limits import OpenUploads, OpenWaits
from api_shim.http.metrics import Metrics
from api_shim.http.openapi import REFUSAL_RESPONSES
from api_shim.http.openapi_answers import SECURITY, SECURITY_SCHEMES
from api_shim.http.openapi_body import SCHEMAS
from api_shim.http.openapi_codes import DESCRIPTION
from api_shim.http.paging import Cursors
from api_shim.http.port import fingerprint
from api_shim.http.routes import actions, batches, jobs, operations, pages
from api_shim.http.state import AppState
from api_shim.identity.doorkeeper import Doorkeeper
from api_shim.jobs import Jobs
from api_shim.submitter import Submitter
from contract.settings import Settings
from plumbing import traces


def create_app(settings: Settings) -> FastAPI:
    """The ASGI application, which opens its connections to Redis when it is started.

    ``app.state.bksi.waits.drain()`` lets every waiting caller go at once; a server calls it when it is told to stop.

    Raises:
        TomlFileInvalid: the file of applications cannot be used.
        ValueError: a trusted proxy is no address or network.
    """
    doorkeeper = Doorkeeper.of(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        traces.configure("bksi-server")
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
        traces.close()

    app = bare_app("Batch creation of service instances", lifespan, DESCRIPTION)
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
    for router in (batches.compat, batches.router, actions.router, jobs.router, operations.router, pages.router):
        app.include_router(router)
    return app


def _keep_nulls(described: dict[str, Any]) -> None:
    """FastAPI drops every null from its document, those of the examples too."""
    for router in (batches.compat, batches.router, actions.router, jobs.router):
        for route in router.routes:
            assert isinstance(route, APIRoute)  # noqa: S101 - our routers have no other
            for method, (status, answer) in product(route.methods or (), route.responses.items()):
                if "content" in answer:
                    operation = described["paths"][route.path][method.lower()]
                    operation["responses"][str(status)]["content"] = answer["content"]
