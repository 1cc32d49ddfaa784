"""The outermost layer: starts every exchange, looks at its head, counts and logs it, and answers our own bugs.

A head must be said once, and be meant for us. Where two readers of a request may understand it differently, a proxy
lets pass what it would not. So what is said twice is refused rather than picked from (RFC 9112 3.2 and 6.1).
"""

import re
import time
from collections import Counter
from typing import Final

import structlog
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api_shim.http.answers import refusal
from api_shim.http.exchange import Exchange, begin
from api_shim.http.state import state_of
from api_shim.identity.credentials import is_basic
from api_shim.identity.doorkeeper import ONCE
from contract.codes import Code, Refused, Why
from plumbing import traces
from plumbing.logs import frames_of
from plumbing.urls import is_loopback

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
            if status and isinstance(error.__cause__, Refused):  # by Starlette, which has begun the answer to it
                _log_broken_off(request, exchange, error.__cause__)
            else:
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


def _log_broken_off(request: Request, exchange: Exchange, refused: Refused) -> None:
    """A server went away while an answer was on its way: what was begun with 200 can only end too early."""
    exchange.code = refused.code
    route, request_id = _route(request), exchange.request_id
    _log.error(
        "answer broken off", reason=refused.message(), code=int(refused.code), route=route, request_id=request_id
    )


def _log_bug(exchange: Exchange, error: Exception) -> None:
    """Where it happened, not what it says: an exception's text and its locals may hold what the caller sent."""
    _log.error("bug", error=type(error).__qualname__, frames=frames_of(error), request_id=exchange.request_id)


_ONCE: Final = ONCE | {
    *("host", "content-type", "content-encoding", "transfer-encoding"),
    *("idempotency-key", "origin", "sec-fetch-site"),
}
_READS: Final = ("GET", "HEAD", "OPTIONS")
_HOST: Final = re.compile(r"(?P<name>[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?", re.ASCII)


class HeadRefused(Refused):
    """A request that no route may see. `status` is its HTTP status, whatever the path."""

    def __init__(self, name: str, why: Why, *, code: Code = Code.PARAM_INVALID, status: int = 400) -> None:
        path = f"header.{name}"
        super().__init__(code, path, why, path=path)
        self.status = status


def check_head(request: Request, *, is_open: bool) -> None:
    """Raise `HeadRefused` unless the head is unambiguous and meant by whoever it lets in.

    What a browser brings by itself, being on this machine or having logged in, any page that is open in it can use.

    Args:
        request: its headers alone are looked at.
        is_open: no application is configured. Whoever reaches the port is let in then, and so would be any page that is
            open in a browser on this machine: it shows by its ``Origin``, or by a name in ``Host`` that is not ours.
    """
    headers = request.headers
    names = Counter(headers.keys())
    for name in sorted(_ONCE):
        if names[name] > 1:
            raise HeadRefused(name, Why.GIVEN_TWICE)
    if (coding := headers.get("transfer-encoding")) is not None and coding.strip().lower() != "chunked":
        raise HeadRefused("transfer-encoding", Why.ONLY_CHUNKED)
    host = headers.get("host", "")
    found = _HOST.fullmatch(host)
    if found is None and (host or request.scope["http_version"] != "1.0"):
        raise HeadRefused("host", Why.MALFORMED)
    if is_open:
        _check_is_ours(host, found["name"].strip("[]") if found else "", headers.get("origin"))
    elif is_basic(headers) and request.method not in _READS:
        _check_same_site(host, headers.get("origin"), headers.get("sec-fetch-site"))


def _check_is_ours(host: str, name: str, origin: str | None) -> None:
    if not is_loopback(name.lower()):
        raise _foreign("host", Why.FOREIGN_HOST)
    if origin is not None and not _is_of(origin, host):
        raise _foreign("origin", Why.FOREIGN_ORIGIN)


def _check_same_site(host: str, origin: str | None, site: str | None) -> None:
    """Browsers say whose page calls: all by ``Origin``, newer ones by ``Sec-Fetch-Site``, which no proxy changes."""
    if site is not None:
        is_foreign = site not in ("same-origin", "none")
    else:
        is_foreign = origin is not None and not _is_of(origin, host)
    if is_foreign:
        raise _foreign("origin", Why.CROSS_SITE)


def _is_of(origin: str, host: str) -> bool:
    return origin.partition("://")[2].lower() == host.lower()


def _foreign(name: str, why: Why) -> HeadRefused:
    return HeadRefused(name, why, code=Code.NO_PERMISSION, status=403)
