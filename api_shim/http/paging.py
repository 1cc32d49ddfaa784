"""Query parameters, and the opaque, signed cursors of paged answers: what one says was said by us."""

import base64
import hashlib
import hmac
from collections.abc import Collection, Iterable
from typing import Final

from starlette.requests import Request

from contract.codes import Code, Language, Refused, Why
from contract.credentials import SIGNATURE_KEYS
from contract.request.findings import shown_key
from contract.settings import Settings

PAGE: Final = 100
MAX_PAGE: Final = 500
_SIGNATURE_BYTES: Final = 12


class UnknownParameter(Refused):
    """A parameter that its call does not read. Whoever misspells a filter must not believe that it works."""

    def __init__(self, name: str, known: Collection[str]) -> None:
        path = f"query.{shown_key(name)}"
        super().__init__(Code.PARAM_INVALID, path, path=path)
        self.known = ", ".join(sorted(known))

    def message(self, language: Language = "en") -> str:
        """The text to show, with those that there are."""
        said = super().message(language)
        if language == "en":
            return f"{said}: this call takes {self.known or 'no parameters'}"
        return f"{said}：此接口的参数为 {self.known}" if self.known else f"{said}：此接口没有参数"


def require_known(query: Iterable[str], known: Collection[str]) -> None:
    """Raise `UnknownParameter` for a name that is not among `known`, nor part of a signature."""
    for name in query:
        if name not in known and name not in SIGNATURE_KEYS:
            raise UnknownParameter(name, known)


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


class Cursors:
    """Signs with a key that every server of one Redis derives alike, so that any of them reads the others' cursors."""

    def __init__(self, settings: Settings) -> None:
        self._key = hashlib.sha256(f"cursor {settings.redis_url} {settings.key_prefix}".encode()).digest()

    def make(self, purpose: str, value: str) -> str:
        """A cursor that only `read` with the same `purpose` takes."""
        return base64.urlsafe_b64encode(self._sign(purpose, value) + value.encode()).decode().rstrip("=")

    def read(self, purpose: str, cursor: str | None) -> str | None:
        """What `make` was given; None without a cursor. Raises `Refused` (1199006) for any other text."""
        if not cursor:
            return None
        try:
            raw = base64.b64decode(cursor[:256] + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
            signature, value = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:].decode()
        except ValueError:
            raise Refused.field(Code.PARAM_INVALID, "query.cursor", Why.CURSOR) from None
        if not hmac.compare_digest(signature, self._sign(purpose, value)):
            raise Refused.field(Code.PARAM_INVALID, "query.cursor", Why.CURSOR)
        return value

    def _sign(self, purpose: str, value: str) -> bytes:
        return hmac.digest(self._key, f"{purpose}\0{value}".encode(), "sha256")[:_SIGNATURE_BYTES]
