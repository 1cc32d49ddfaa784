"""What is known about one request from its first byte to its answer, and how it is to be answered.

The path and the headers say how: in which style and language, as a page for people or JSON for programs, how soon.
"""

import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from starlette.datastructures import Headers
from starlette.requests import Request

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
            "Vary": "Accept, Accept-Language, blueking-language, X-Bkcmdb-Language",
        }


def begin(request: Request) -> Exchange:
    """Start the exchange of `request`."""
    path, headers = request.scope["path"], request.headers
    asked = headers.get("x-request-id", "")
    traceparent = headers.get("traceparent", "")
    style = _style(path, all_of(headers, "accept"))
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


# CMDB's own header names; the second is its older spelling. What the caller's gateway sets wins over the browser's.
_OWN_HEADERS: Final = ("blueking-language", "x-bkcmdb-language", "http_blueking_language")
_WAIT: Final = re.compile(r"""wait\s*=\s*"?([0-9]{1,9})"?""", re.IGNORECASE | re.ASCII)
_PAGE: Final = ("text/html", "text/*", "*/*")
_JSON: Final = ("application/json", "application/*", "*/*")


def all_of(headers: Headers, name: str) -> str:
    """A header that is a list, as one, however many lines it came in (RFC 9110 5.3)."""
    return ", ".join(headers.getlist(name))


def negotiate(headers: Headers) -> Language:
    """English unless one of CMDB's language headers, or else ``Accept-Language``, prefers Chinese."""
    for name in _OWN_HEADERS:
        if value := headers.get(name):
            return _language(value)
    ranges = _ranges(all_of(headers, "accept-language"))
    known = [(weight, language) for tag, weight in ranges if weight > 0 and (language := _known(tag))]
    # max keeps the first of equals, which is the order of the header (RFC 9110 12.5.4 leaves it open).
    return max(known, key=lambda item: item[0], default=(1.0, "en"))[1]


def prefers_page(accept: str) -> bool:
    """Whether ``Accept`` names HTML and prefers it to JSON (RFC 9110 12.5.1); programs that take anything get JSON."""
    if "text/html" not in accept.lower():
        return False
    ranges = dict(_ranges(accept))
    return _closest(ranges, _PAGE) > _closest(ranges, _JSON)


def names(accept: str, media_type: str) -> bool:
    """Whether ``Accept`` names a media type itself, and not to say that it is unwanted."""
    return dict(_ranges(accept)).get(media_type, 0.0) > 0


def preferred_wait(header: str, maximum: float) -> int | None:
    """``Prefer: wait=N``: whole seconds to be kept waiting for the end that are granted, at most `maximum`.

    None when nothing valid is asked for, as RFC 7240 2 wants.
    """
    for preference in header[:1024].split(","):
        # Parameters of a preference follow after a semicolon; `wait` has none.
        if match := _WAIT.fullmatch(preference.partition(";")[0].strip()):
            return min(int(match[1]), int(maximum))
    return None


def _closest(ranges: dict[str, float], names: Iterable[str]) -> float:
    """That of the range that fits most closely."""
    return next((ranges[name] for name in names if name in ranges), 0.0)


def language_of(request: Request) -> Language:
    """That of a page: ``lang`` of its own links, else as for programs."""
    match request.query_params.get("lang"):
        case "en":
            return "en"
        case "zh":
            return "zh"
        case _:
            return negotiate(request.headers)


def _ranges(header: str) -> list[tuple[str, float]]:
    """What a header such as ``Accept`` lists, each in lower case and with its weight (RFC 9110 12.4.2)."""
    return [_weighted(part) for part in header[:1024].split(",")]


def _language(tag: str) -> Language:
    return "zh" if tag.strip().lower().startswith(("zh", "cn")) else "en"


def _known(tag: str) -> Language | None:
    primary = tag.partition("-")[0]
    return "zh" if primary == "zh" else "en" if primary in ("en", "*") else None


def _weighted(part: str) -> tuple[str, float]:
    tag, *parameters = (piece.strip() for piece in part.lower().split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            return tag, _weight(value)
    return tag, 1.0


def _weight(value: str) -> float:
    try:
        weight = float(value)
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0
