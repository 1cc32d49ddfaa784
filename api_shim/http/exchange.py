"""What is known about one request from its first byte to its answer, and how its kind of path answers."""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from starlette.requests import Request

from api_shim.http.negotiation import language_of, negotiate, prefers_page
from api_shim.identity.doorkeeper import Identity
from contract.codes import Language

LISTINGS: Final = {
    "list_service_instance": "/api/v3/findmany/proc/service_instance",
    "list_service_instance_detail": "/api/v3/findmany/proc/service_instance/details",
    "list_process_instance": "/api/v3/findmany/proc/process_instance",
}
"""CMDB's listings, by their names of ESB's; a reader answers them."""
HOSTS_WITHOUT_INSTANCE: Final = "/api/v3/findmany/proc/host/with_no_service_instance"
"""What CMDB's own pages ask, which ESB has no name for; a reader answers it."""
NATIVE_PATH: Final = "/api/v3/create/proc/service_instance"


def esb_paths(name: str) -> tuple[str, ...]:
    """ESB's paths of one API: with and without a version, with and without the final slash."""
    return tuple(f"/api/c/compapi/{version}cc/{name}{slash}" for version in ("v2/", "") for slash in ("/", ""))


ESB_PATHS: Final = esb_paths("create_service_instance")
_NATIVE: Final = frozenset({NATIVE_PATH, HOSTS_WITHOUT_INSTANCE, *LISTINGS.values()})
_ESB: Final = frozenset({*ESB_PATHS, *(path for name in LISTINGS for path in esb_paths(name))})
_CORRELATION: Final = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
# W3C Trace Context level 1: version 00, ids that are not all zero.
_TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)


class Style(Enum):
    """Four ways to say the same: three kinds of paths, and people instead of programs."""

    ESB = "esb"
    """Six keys, and HTTP 200 whatever happened: old SDKs throw the envelope of anything else away."""
    NATIVE = "native"
    """As ESB, plus ``bk_error_code`` and ``bk_error_msg``, which CMDB's own clients read."""
    V1 = "v1"
    """The six keys and the report around them; HTTP statuses mean what they say."""
    PAGE = "page"
    """As V1, to a browser: a page wherever there is one, of refusals always."""

    @property
    def is_compat(self) -> bool:
        """Whether existing BlueKing callers use the path."""
        return self in (Style.ESB, Style.NATIVE)


@dataclass(slots=True)
class Exchange:
    """One request and its answer.

    `request_id` is a fresh uuid4 hex until the request is accepted under another one: no caller ever chooses it.
    `correlation_id` is the caller's ``X-Request-Id`` where it is harmless; it only ties logs together.
    `method` is as sent: the routes see HEAD as GET.
    """

    method: str
    style: Style
    language: Language
    request_id: str
    correlation_id: str | None
    traceparent: str | None
    bk_app_code: str = ""
    code: int = 0
    identity: Identity | None = None
    """Who calls, once the head alone has told it."""
    location: str = ""
    """Where that stands which was accepted before the request was refused: the job of an upload."""
    query: Mapping[str, str] = field(default_factory=dict)
    """Of a page: what its own links go on with."""

    def headers(self, status: int) -> dict[str, str]:
        """What every answer says."""
        return {
            "X-Request-Id": self.correlation_id or self.request_id,
            # Answers hold what only their caller may read, and change while a request runs.
            "Cache-Control": "no-store" if status >= 400 else "private, no-cache",
            "Content-Language": "zh-CN" if self.language == "zh" else "en",
            "Vary": "Accept, Accept-Language, blueking-language",
        }


def begin(request: Request) -> Exchange:
    """Start the exchange of `request`."""
    path, headers = request.scope["path"], request.headers
    asked = headers.get("x-request-id", "")
    traceparent = headers.get("traceparent", "")
    style = _style(path, headers.get("accept", ""))
    return Exchange(
        method=request.method,
        style=style,
        language=language_of(request) if style is Style.PAGE else negotiate(headers),
        request_id=uuid.uuid4().hex,
        correlation_id=asked if _CORRELATION.fullmatch(asked) else None,
        traceparent=traceparent if _TRACEPARENT.fullmatch(traceparent) else None,
        query=dict(request.query_params) if style is Style.PAGE else {},
    )


def _style(path: str, accept: str) -> Style:
    if path in _NATIVE:
        return Style.NATIVE
    if path in _ESB:
        return Style.ESB
    return Style.PAGE if prefers_page(accept) else Style.V1


def exchange_of(request: Request) -> Exchange:
    """The exchange that `request` belongs to."""
    exchange: Exchange = request.scope["exchange"]
    return exchange
