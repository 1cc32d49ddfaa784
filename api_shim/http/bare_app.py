"""What our HTTP applications have in common before they have a path."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from api_shim.http.answers import refusal
from api_shim.http.body import BodyBroken
from api_shim.http.exchange import exchange_of
from api_shim.http.middleware import Frame
from api_shim.http.routes import assets
from contract.codes import Code, Refused
from contract.request.parse import BatchRefused

_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def bare_app(
    title: str, lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]], description: str = ""
) -> FastAPI:
    """An application that answers a wrong path or method, and what its routes refuse, in the style of the path."""
    # FastAPI's own /docs makes browsers load its scripts from elsewhere; many of our networks reach nothing there.
    app = FastAPIOffline(
        redoc_url=None,
        title=title,
        description=description,
        version="1",
        lifespan=lifespan,
        # A redirect makes old clients repeat a POST as a GET.
        redirect_slashes=False,
    )
    app.include_router(assets.router)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(BatchRefused, _batch_refused)
    app.add_exception_handler(BodyBroken, _body_broken)
    app.add_exception_handler(HTTPException, _no_route)
    app.add_middleware(Frame)
    return app


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
    is_path = error.status_code != 405
    return refusal(
        exchange_of(request),
        [Refused(Code.COMPONENT_NOT_FOUND, path="path" if is_path else "method")],
        status=error.status_code,
        headers=error.headers if is_path else {"Allow": ", ".join(_allowed(request))},
    )


def _allowed(request: Request) -> list[str]:
    """What the path can be asked by; the router names what the first of its routes takes."""
    asked = [(method, {**request.scope, "method": "GET" if method == "HEAD" else method}) for method in _METHODS]
    routes = request.app.routes
    return [method for method, scope in asked if any(route.matches(scope)[0] is Match.FULL for route in routes)]
