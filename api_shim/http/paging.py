"""Query parameters of paged answers."""

from typing import Final

from starlette.requests import Request

from contract.codes import Code, Refused, Why

PAGE: Final = 100
MAX_PAGE: Final = 500


def one_of(request: Request, name: str, known: list[str]) -> str | None:
    """A parameter that must be one of a few words; None when it is not given."""
    value = request.query_params.get(name) or None
    if value is not None and value not in known:
        raise Refused.field(Code.PARAM_INVALID, f"query.{name}", Why.NOT_LISTED)
    return value


def number(request: Request, name: str) -> int:
    """A parameter that must be a whole number, not negative."""
    text = request.query_params[name]
    if not (text.isascii() and text.isdigit() and 0 < len(text) <= 18):
        raise Refused.field(Code.PARAM_INVALID, f"query.{name}", Why.NUMBER)
    return int(text)


def page_limit(request: Request, size: int = PAGE) -> int:
    """``limit``: 1 to `MAX_PAGE`, else `size`."""
    limit = number(request, "limit") if request.query_params.get("limit") else size
    if not 1 <= limit <= MAX_PAGE:
        raise Refused(Code.PAGE_LIMIT_INVALID, path="query.limit")
    return limit
