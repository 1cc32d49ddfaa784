"""What a request says about its caller, and where; nothing of it is believed yet.

ESB's rules: credentials come in ``X-Bkapi-Authorization`` (a JSON object) or in the body, and for browsers and curl as
HTTP Basic; where two of these name them and differ, none is picked.
"""

import base64
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from api_shim.http.body import NotJson, loads
from contract.codes import Code, Refused, Why
from contract.credentials import APP_CODE, APP_SECRET, IDENTITY_KEYS, SIGNATURE_KEYS, USERNAME
from contract.request.findings import shown_key

AUTHORIZATION_HEADER: Final = "x-bkapi-authorization"
BASIC_HEADER: Final = "authorization"
_MAX_HEADER: Final = 8 * 1024


class Unauthenticated(Refused):
    """The application is unknown or its secret is wrong; which of the two is never said."""

    def __init__(self, path: str = "", *why: Why) -> None:
        super().__init__(Code.APP_UNAUTHENTICATED, *why, path=path)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request says about its caller. The secret shows in no representation."""

    bk_app_code: str = ""
    bk_app_secret: str = field(default="", repr=False)
    bk_username: str = ""


def is_basic(headers: Mapping[str, str]) -> bool:
    """Whether the call brings what a browser sends by itself, to whoever asks, once somebody has logged in."""
    return headers.get(BASIC_HEADER, "")[:6].lower() == "basic "


def of_head(headers: Mapping[str, str]) -> Credentials:
    """What the head says, before a byte of the body is read."""
    return of_both(_of_header(headers), _of_basic(headers))


def _of_basic(headers: Mapping[str, str]) -> Credentials:
    """RFC 7617. What cannot be read names nobody."""
    if not is_basic(headers):
        return Credentials()
    try:
        said = base64.b64decode(headers[BASIC_HEADER][6:_MAX_HEADER].strip(), validate=True).decode()
    except ValueError:
        return Credentials()
    app_code, _, secret = said.partition(":")
    return Credentials(app_code, secret)


def _of_header(headers: Mapping[str, str]) -> Credentials:
    header = headers.get(AUTHORIZATION_HEADER)
    if header is None:
        return Credentials()
    try:
        said = loads(header[:_MAX_HEADER].encode("latin-1"))
    except NotJson:
        said = None
    if not isinstance(said, dict):
        raise Refused(Code.APP_AUTH_HEADER_INVALID)
    return credentials_in(said)


def credentials_in(said: Mapping[str, Any]) -> Credentials:
    """What an object says, of a header or a body."""
    return Credentials(_text(said, APP_CODE), _text(said, APP_SECRET), _text(said, USERNAME))


def of_both(first: Credentials, second: Credentials) -> Credentials:
    """What two places say together; raises `Unauthenticated` where they contradict each other."""
    both = {}
    for name in (APP_CODE[0], APP_SECRET[0], USERNAME[0]):
        one, other = getattr(first, name), getattr(second, name)
        if one and other and one != other:
            raise Unauthenticated(name, Why.CONTRADICTED)
        both[name] = one or other
    return Credentials(**both)


def _text(said: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """The value under a key, or under its older spelling; both may be there if they are the same."""
    found = ""
    for name in names:
        value = said.get(name)
        if value is None or value == "":
            continue
        if not isinstance(value, str):
            raise Refused.field(Code.PARAM_NOT_TEXT, name)
        if found not in ("", value):
            raise Unauthenticated(name, Why.CONTRADICTED)
        found = value
    return found


def without_credentials(body: Mapping[str, Any]) -> dict[str, Any]:
    """`body` as it may be stored, queued, logged and traced."""
    return {key: value for key, value in body.items() if key not in IDENTITY_KEYS}


def check_query(pairs: Iterable[tuple[str, str]]) -> None:
    """Refuse a name that comes twice, and credentials: in a URL they end in access logs, and its sender shall notice.

    What ESB signs is none: it is good once, and for five minutes.
    """
    counts = Counter(name for name, _ in pairs)
    for name, count in counts.items():
        if count > 1:
            raise Refused.field(Code.PARAM_INVALID, f"query.{shown_key(name)}", Why.GIVEN_TWICE)
    names = counts.keys()
    allowed = SIGNATURE_KEYS if names >= SIGNATURE_KEYS else frozenset()
    for name in sorted(names - allowed):
        if name.lower() in IDENTITY_KEYS:
            raise Unauthenticated(path=f"query.{name.lower()}")
