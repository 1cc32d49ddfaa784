"""How an outcome is said: the envelope in the path's style, the HTTP status, the headers."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from starlette.responses import Response

from api_shim.http.exchange import Exchange, Style
from api_shim.http.pages.refusal import refusal_page
from api_shim.refusals import Expired, NotRetryable, TooLate
from contract.answer.document import report_document
from contract.answer.report import Report, envelope
from contract.codes import Code, Refused

# What a refusal is on v1; whatever is not listed is the caller's mistake, 400.
_STATUS: Final[Mapping[Code, int]] = {
    Code.APP_UNAUTHENTICATED: 401,
    Code.GATEWAY_AUTH_FAILED: 401,
    Code.NO_PERMISSION: 403,
    Code.REQUEST_NOT_FOUND: 404,
    Code.COMPONENT_NOT_FOUND: 404,
    Code.BODY_UNREADABLE: 408,
    Code.TOO_LATE: 409,
    Code.NOT_RETRYABLE: 409,
    Code.CANCELLED: 409,
    Code.UPLOAD_INTERRUPTED: 409,
    Code.RESULT_EXPIRED: 410,
    Code.PAYLOAD_GONE: 410,
    Code.BODY_TOO_LARGE: 413,
    Code.UNSUPPORTED_MEDIA_TYPE: 415,
    Code.IDEMPOTENCY_CONFLICT: 422,
    Code.RATE_LIMITED: 429,
    Code.INTERNAL: 500,
    Code.QUEUE_FULL: 503,
    Code.BROKER_UNAVAILABLE: 503,
}
_BY_WORKERS: Final = frozenset(
    {
        Code.MODULE_NOT_FOUND,
        Code.CREATE_PROCESS_FAILED,
        Code.HOST_NOT_IN_MODULE,
        Code.MODULE_NOT_IN_BIZ,
        Code.INSTANCE_EXISTS,
        Code.TEMPLATE_NAME_DUPLICATE,
        Code.TEMPLATE_FUNC_DUPLICATE,
        Code.VALUE_INVALID,
        Code.DUPLICATE,
        Code.DEADLINE_EXCEEDED,
        Code.DEAD_LETTER,
        Code.NOT_DELIVERED,
        Code.PARTLY_FAILED,
        Code.STILL_RUNNING,
        Code.UNKNOWN,
        Code.SUCCESS,
    }
)
# The transport's own failures keep their status on compat paths: no envelope can be expected there.
_STATUS_ON_COMPAT: Final = (408, 413)
_BROKER_RETRY_AFTER_S: Final = 2.0
# A browser asks its user for application code and secret then. It would for a program's call too: a script's own.
_LOGIN: Final = 'Basic realm="bksi", charset="UTF-8"'


def status_of(code: Code) -> int:
    """The HTTP status under /v1 that `code` is said with: 200 where it stands in a report."""
    return 200 if code in _BY_WORKERS else _STATUS.get(code, 400)


def refusal(
    exchange: Exchange,
    errors: Sequence[Refused],
    *,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The answer to a request that was not accepted. The first of `errors` decides code, message and status.

    Args:
        exchange: The request.
        errors: One or more; v1 lists all of them, with their paths, never with what the caller sent.
        status: An HTTP status that holds on every path (404, 405, 431), instead of the code's own.
        headers: More headers.
    """
    first = errors[0]
    exchange.code = first.code
    permission = getattr(first, "permission", None)
    content: dict[str, Any] = {**envelope(first, exchange.request_id, exchange.language, permission=permission)}
    if not exchange.style.is_compat:
        content["errors"] = [_error(exchange, error) for error in errors]
        if isinstance(first, Expired | TooLate | NotRetryable):
            content["status"] = first.status.value
    if status is None:
        status = _STATUS.get(first.code, 400)
        if exchange.style.is_compat and status not in _STATUS_ON_COMPAT:
            status = 200
    more = {**_where(exchange), **_advice(exchange, first), **(headers or {})}
    if exchange.style is Style.PAGE:
        return refusal_page(exchange, content, status, more)
    return _json(exchange, content, status, more)


def finished(
    exchange: Exchange, report: Report, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """The answer that carries a report: its envelope on compat paths, the whole report on v1."""
    if exchange.style.is_compat:
        status = 200
        content: dict[str, Any] = {**report.envelope(exchange.language)}
    else:
        content = report_document(report, exchange.language)
    exchange.code = content["code"]
    return _json(exchange, content, status, headers)


def listed(exchange: Exchange, name: str, values: list[Any], cursor: str | None) -> Response:
    """A page: the six keys, then `values` under `name`, and `next_cursor`, null on the last page."""
    return succeeded(exchange, {name: values, "next_cursor": cursor})


def succeeded(exchange: Exchange, more: dict[str, Any]) -> Response:
    """The six keys of a call that succeeded, and `more` after them."""
    return _json(exchange, {**envelope(Refused(Code.SUCCESS), exchange.request_id, result=True), **more}, 200)


def said(
    exchange: Exchange, document: dict[str, Any], status: int, headers: Mapping[str, str] | None = None
) -> Response:
    """A document that has the six keys among its own."""
    exchange.code = document["code"]
    return _json(exchange, document, status, headers)


def still_running(exchange: Exchange) -> Response:
    """The compat answer to an accepted request that has not ended: never ``result: true`` before the rows exist."""
    exchange.code = Code.STILL_RUNNING
    content = {**envelope(Refused(Code.STILL_RUNNING), exchange.request_id, exchange.language)}
    return _json(exchange, content, 200)


def with_etag(response: Response, if_none_match: str) -> Response:
    """Add the entity tag of `response`; 304 without a body where the caller has it already (RFC 9110 13.1.2)."""
    tag = f'"{hashlib.sha256(response.body).hexdigest()[:32]}"'
    response.headers["ETag"] = tag
    known = {candidate.strip().removeprefix("W/") for candidate in if_none_match.split(",")}
    if tag not in known and "*" not in known:
        return response
    kept = {name: value for name, value in response.headers.items() if not name.startswith("content-")}
    return Response(status_code=304, headers=kept)


def whole_seconds(seconds: float) -> str:
    """A ``Retry-After``: at least 1, rounded up."""
    return str(max(1, math.ceil(seconds)))


def _error(exchange: Exchange, error: Refused) -> dict[str, Any]:
    said = error.document(exchange.language)
    for name in ("reason", "offset"):
        if (value := getattr(error, name, None)) is not None:
            said[name] = value
    return said


def _where(exchange: Exchange) -> dict[str, str]:
    return {"Location": exchange.location} if exchange.location else {}


def _advice(exchange: Exchange, error: Refused) -> dict[str, str]:
    status = _STATUS.get(error.code)
    if status == 401:
        return {"WWW-Authenticate": _LOGIN if exchange.style is Style.PAGE else "X-Bkapi-Authorization"}
    if status in (429, 503):
        return {"Retry-After": whole_seconds(getattr(error, "retry_after", _BROKER_RETRY_AFTER_S))}
    # Whatever is still on its way belongs to the refused body.
    return {"Connection": "close"} if status in (408, 413) else {}


def _json(
    exchange: Exchange, content: dict[str, Any], status: int, headers: Mapping[str, str] | None = None
) -> Response:
    if exchange.style is Style.NATIVE:
        content |= {"bk_error_code": content["code"], "bk_error_msg": content["message"]}
    return Response(
        orjson.dumps(content),
        status,
        headers={**exchange.headers(status), **(headers or {})},
        media_type="application/json",
    )
