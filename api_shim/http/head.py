"""What a request's first lines must be before anything else looks at it: said once, and meant for us.

Where two readers of a request may understand it differently, a proxy lets pass what it would not. So what is said twice
is refused rather than picked from (RFC 9112 3.2 and 6.1).
"""

import re
from collections import Counter
from typing import Final

from starlette.requests import Request

from api_shim.identity.doorkeeper import ONCE
from api_shim.identity.said import is_basic
from contract.codes import Code, Refused, Why
from plumbing.urls import is_loopback

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
