"""Whether an answer is for a person in a browser, or for a program."""

from collections.abc import Iterable
from typing import Final

from starlette.requests import Request

from api_shim.http.language import negotiate, weighted
from contract.codes import Language

_PAGE: Final = ("text/html", "text/*", "*/*")
_JSON: Final = ("application/json", "application/*", "*/*")


def prefers_page(accept: str) -> bool:
    """Whether ``Accept`` names HTML and prefers it to JSON (RFC 9110 12.5.1); programs that take anything get JSON."""
    if "text/html" not in accept.lower():
        return False
    ranges = dict(weighted(accept))
    return _weight(ranges, _PAGE) > _weight(ranges, _JSON)


def _weight(ranges: dict[str, float], names: Iterable[str]) -> float:
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
