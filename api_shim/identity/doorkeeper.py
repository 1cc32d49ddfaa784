"""Who calls, and what they may do: pure decisions over what the request carries and what is configured.

ESB's rules: credentials come in ``X-Bkapi-Authorization`` (a JSON object) or else in the body; the header wins. The
application is authenticated by its secret or by the API gateway's token. The user is whom the application names: there
is no login service here, so ``bk_username`` is recorded and never trusted with anything, and ``bk_token`` is dropped.
"""

import ipaddress
import json
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from api_shim.identity.applications import Application, Applications
from api_shim.identity.gateway import read_token
from api_shim.identity.signature import SIGNATURE_KEYS, SignedCall
from contract.answer.permission import iam_permission
from contract.codes import Code, Refused
from contract.message import Caller

AUTHORIZATION_HEADER: Final = "x-bkapi-authorization"
GATEWAY_HEADER: Final = "x-bkapi-jwt"
_USER_HEADERS: Final = ("x-bkcmdb-user", "bk_user")
_SUPPLIER_HEADERS: Final = (
    "x-bkcmdb-supplier-account",
    "x-bkapi-supplier-account",
    "http_bk_supplier_account",
    "http_blueking_supplier_id",
)
# ESB's key and its older spelling; the second group is only ever thrown away.
_APP_CODE, _APP_SECRET, _USERNAME = (
    ("bk_app_code", "app_code"),
    ("bk_app_secret", "app_secret"),
    ("bk_username", "username"),
)
_TOKENS: Final = ("bk_token", "bk_ticket", "access_token", "bk_signature", "bk_timestamp", "bk_nonce")
CREDENTIAL_KEYS: Final = frozenset((*_APP_CODE, *_APP_SECRET, *_USERNAME, *_TOKENS))
_MAX_HEADER: Final = 8 * 1024
# No control characters: a name ends in rows, in logs and on Flower's pages.
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f]{0,128}")
_ACCOUNT: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


class Unauthenticated(Refused):
    """The application is unknown or its secret is wrong; which of the two is never said."""

    def __init__(self, path: str = "") -> None:
        super().__init__(Code.APP_UNAUTHENTICATED, path=path)


class Forbidden(Refused):
    """The application may not create service instances in this business. `permission` is IAM's answer (CMDB 5.3)."""

    def __init__(self, bk_biz_id: int) -> None:
        super().__init__(Code.NO_PERMISSION)
        self.permission = iam_permission(bk_biz_id)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request says about its caller. The secret shows in no representation."""

    bk_app_code: str = ""
    bk_app_secret: str = field(default="", repr=False)
    bk_username: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """An authenticated caller. `application` is None where none is configured: everybody is the same anonymous one."""

    caller: Caller
    application: Application | None = None

    def require_business(self, bk_biz_id: int) -> None:
        """Raise `Forbidden` unless the caller may write to this business."""
        if self.application is not None and not self.application.may_write(bk_biz_id):
            raise Forbidden(bk_biz_id)


class Doorkeeper:
    """Authenticates callers.

    Args:
        applications: Who may call, None: anybody (and the server binds to loopback only).
        trusted_proxies: Addresses or networks whose forwarded user is believed, and, unless empty, the only ones that
            may bring the API gateway's token.
    """

    def __init__(self, applications: Applications | None, trusted_proxies: Iterable[str] = ()) -> None:
        self._applications = applications
        self._proxies = tuple(ipaddress.ip_network(proxy) for proxy in trusted_proxies)

    def identify(
        self, headers: Mapping[str, str], body: Mapping[str, Any], peer: str | None, signed: SignedCall | None = None
    ) -> Identity:
        """Who calls. The nonce of a signed call is for the caller of this to look at.

        Args:
            headers: The request's, by lower-case name.
            body: The decoded body; its credentials count when there is no ``X-Bkapi-Authorization``.
            peer: The address of the connection's other end.
            signed: ESB's signature, when the request carries one; it then counts instead of any secret.

        Raises:
            Refused: 1306401 unknown application or wrong secret, 1100004 the gateway's token is not valid, 1306406
                the header is not a JSON object, 1199006/1199007 a name that cannot be stored or a supplier account that
                is not the application's.
        """
        credentials = take_credentials(headers, body)
        application: Application | None = None
        app_code, username = "", credentials.bk_username
        if self._applications is not None:
            token = headers.get(GATEWAY_HEADER)
            if token is not None and self._applications.gateways:
                if self._proxies and not self._is_proxy(peer):
                    raise Refused(Code.GATEWAY_AUTH_FAILED)
                claims = read_token(token, self._applications.gateways)
                app_code, username = claims.bk_app_code, claims.bk_username or username
                application = self._applications.named(app_code)
            elif signed is not None:
                app_code = signed.bk_app_code
                application = self._applications.named(app_code)
                if not signed.is_by(application.signing_keys if application else (), time.time()):
                    raise Unauthenticated
            else:
                app_code = credentials.bk_app_code
                application = self._applications.authenticated(app_code, credentials.bk_app_secret)
            if application is None:
                raise Unauthenticated
        if self._is_proxy(peer):
            username = next((headers[name] for name in _USER_HEADERS if headers.get(name)), username)
        account = next((headers[name] for name in _SUPPLIER_HEADERS if headers.get(name)), "0")
        if not _ACCOUNT.fullmatch(account) or (application and account not in application.supplier_accounts):
            raise Refused.field(Code.PARAM_INVALID, "bk_supplier_account")
        if not _NAME.fullmatch(username):
            raise Refused.field(Code.PARAM_INVALID, "bk_username")
        return Identity(Caller(bk_app_code=app_code, bk_username=username, bk_supplier_account=account), application)

    def _is_proxy(self, peer: str | None) -> bool:
        if not self._proxies or peer is None:
            return False
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        return any(address in network for network in self._proxies)


def take_credentials(headers: Mapping[str, str], body: Mapping[str, Any]) -> Credentials:
    """The credentials of the header, or else of the body. ESB's keys and their older spellings."""
    header = headers.get(AUTHORIZATION_HEADER)
    if header is None:
        return _credentials(body)
    try:
        said = json.loads(header[:_MAX_HEADER])
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise Refused(Code.APP_AUTH_HEADER_INVALID)
    return _credentials(said)


def without_credentials(body: Mapping[str, Any]) -> dict[str, Any]:
    """`body` as it may be stored, queued, logged and traced."""
    return {key: value for key, value in body.items() if key not in CREDENTIAL_KEYS}


def refuse_query_credentials(names: Iterable[str]) -> None:
    """Credentials in a URL end in access logs: refuse the request, so that its sender notices.

    What ESB signs is none: it is good once, and for five minutes.
    """
    names = set(names)
    allowed = SIGNATURE_KEYS if names >= SIGNATURE_KEYS else frozenset()
    for name in sorted(names - allowed):
        if name.lower() in CREDENTIAL_KEYS:
            raise Unauthenticated(path=f"query.{name.lower()}")


def _credentials(said: Mapping[str, Any]) -> Credentials:
    return Credentials(_text(said, _APP_CODE), _text(said, _APP_SECRET), _text(said, _USERNAME))


def _text(said: Mapping[str, Any], names: tuple[str, ...]) -> str:
    for name in names:
        value = said.get(name)
        if value is None or value == "":
            continue
        if not isinstance(value, str):
            raise Refused.field(Code.PARAM_NOT_TEXT, name)
        return value
    return ""
