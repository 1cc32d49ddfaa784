"""The outermost layer: starts every exchange, bounds its headers, counts and logs it, and answers our own bugs."""

import time
from typing import Final

import structlog
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api_shim.http.answers import refusal
from api_shim.http.exchange import Exchange, begin
from api_shim.http.head import HeadRefused, check_head
from api_shim.http.state import state_of
from contract.codes import Code, Refused
from plumbing import traces

MAX_HEADER_BYTES: Final = 32 * 1024
_PROBES: Final = ("/healthz", "/readyz", "/metrics")
"""Asked every few seconds by machines that keep the answers themselves."""
_log = structlog.get_logger("bksi.http")


class Frame:
    """ASGI middleware around everything else."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; other scopes pass through."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive)
        exchange = scope["exchange"] = begin(request)
        if scope["path"] in _PROBES:
            await self._serve(request, exchange, send)
            return
        with traces.span("HTTP", parent=exchange.traceparent, kind="server") as span:
            status = await self._serve(request, exchange, send)
            name = f"{exchange.method} {_route(request)}"
            span.set(name, status=status, code=int(exchange.code), request_id=exchange.request_id)

    async def _serve(self, request: Request, exchange: Exchange, send: Send) -> int:
        """Answer one request; returns the status."""
        scope, receive = request.scope, request.receive
        started, status = time.perf_counter(), 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            elif exchange.method == "HEAD":
                message = {"type": "http.response.body", "more_body": message.get("more_body", False)}
            await send(message)

        try:
            if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADER_BYTES:
                error = Refused(Code.BODY_TOO_LARGE, path="headers")
                await refusal(exchange, [error], status=431)(scope, receive, watched)
            else:
                check_head(request, is_open=state_of(request).doorkeeper.is_open)
                await self.app(_as_get(scope), receive, watched)
        except HeadRefused as error:
            await refusal(exchange, [error], status=error.status)(scope, receive, watched)
        except Exception as error:  # noqa: BLE001 - the last line of defence: whatever it is, the caller gets an envelope
            _log_bug(exchange, error)
            if status == 0:
                await refusal(exchange, [Refused(Code.INTERNAL)])(scope, receive, watched)
        _record(request, exchange, status, time.perf_counter() - started)
        return status


def _as_get(scope: Scope) -> Scope:
    """HEAD is GET without a body (RFC 9110 9.3.2), wherever there is a GET."""
    if scope["method"] == "HEAD":
        scope["method"] = "GET"
    return scope


def _route(request: Request) -> str:
    path: str = getattr(request.scope.get("route"), "path", "other")
    return path


def _record(request: Request, exchange: Exchange, status: int, seconds: float) -> None:
    name = _route(request)
    state_of(request).metrics.answered(name, status, exchange.code, seconds)
    log = _log.debug if name in _PROBES else _log.info
    log(
        "answered",
        route=name,
        status=status,
        code=int(exchange.code),
        request_id=exchange.request_id,
        correlation_id=exchange.correlation_id or exchange.request_id,
        bk_app_code=exchange.bk_app_code,
        ms=round(seconds * 1000, 2),
    )


def _log_bug(exchange: Exchange, error: Exception) -> None:
    """Where it happened, not what it says: an exception's text and its locals may hold what the caller sent."""
    frames, traceback = [], error.__traceback__
    while traceback is not None:
        code = traceback.tb_frame.f_code
        frames.append(f"{code.co_filename}:{traceback.tb_lineno} {code.co_name}")
        traceback = traceback.tb_next
    _log.error("bug", error=type(error).__qualname__, at=frames[-8:], request_id=exchange.request_id)
