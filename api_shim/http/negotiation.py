"""How a caller would like to be answered: language, a page for people or JSON for programs, and how soon."""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from starlette.requests import Request

from contract.codes import Language

# CMDB's own header names; the second is its older spelling. What the caller's gateway sets wins over the browser's.
_OWN_HEADERS: Final = ("blueking-language", "x-bkcmdb-language", "http_blueking_language")
_WAIT: Final = re.compile(r"""wait\s*=\s*"?([0-9]{1,9})"?""", re.IGNORECASE | re.ASCII)
_PAGE: Final = ("text/html", "text/*", "*/*")
_JSON: Final = ("application/json", "application/*", "*/*")


def negotiate(headers: Mapping[str, str]) -> Language:
    """English unless one of CMDB's language headers, or else ``Accept-Language``, prefers Chinese."""
    for name in _OWN_HEADERS:
        if value := headers.get(name):
            return _language(value)
    ranges = _ranges(headers.get("accept-language", ""))
    known = [(weight, language) for tag, weight in ranges if weight > 0 and (language := _known(tag))]
    # max keeps the first of equals, which is the order of the header (RFC 9110 12.5.4 leaves it open).
    return max(known, key=lambda item: item[0], default=(1.0, "en"))[1]


def prefers_page(accept: str) -> bool:
    """Whether ``Accept`` names HTML and prefers it to JSON (RFC 9110 12.5.1); programs that take anything get JSON."""
    if "text/html" not in accept.lower():
        return False
    ranges = dict(_ranges(accept))
    return _closest(ranges, _PAGE) > _closest(ranges, _JSON)


def preferred_wait(header: str | None, maximum: float) -> int | None:
    """``Prefer: wait=N``: whole seconds to be kept waiting for the end that are granted, at most `maximum`.

    None when nothing valid is asked for, as RFC 7240 2 wants.
    """
    for preference in (header or "")[:1024].split(","):
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
