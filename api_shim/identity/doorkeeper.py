"""Who calls, and what they may do: pure decisions over what the request carries and what is configured.

The credentials of the head are checked before a body is read. The application is authenticated by its secret or by the
API gateway's token. The user is whom the application names: there is no login service here, so ``bk_username`` is
recorded and never trusted with anything, and ``bk_token`` is dropped.
"""

import ipaddress
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from api_shim.identity.applications import Application, Applications
from api_shim.identity.credentials import (
    AUTHORIZATION_HEADER,
    BASIC_HEADER,
    Credentials,
    Unauthenticated,
    credentials_in,
    is_basic,
    of_both,
    of_head,
)
from api_shim.identity.signature import SignedCall
from contract.answer.permission import iam_permission
from contract.codes import Code, Refused, Why
from contract.message import Caller
from contract.settings import Settings

GATEWAY_HEADER: Final = "x-bkapi-jwt"
_USER_HEADERS: Final = ("x-bkcmdb-user", "bk_user")
_SUPPLIER_HEADERS: Final = (
    "x-bkcmdb-supplier-account",
    "x-bkapi-supplier-account",
    "http_bk_supplier_account",
    "http_blueking_supplier_id",
)
ONCE: Final = frozenset((AUTHORIZATION_HEADER, BASIC_HEADER, GATEWAY_HEADER, *_USER_HEADERS, *_SUPPLIER_HEADERS))
"""Headers of which a request has one at most."""
# No control characters, and nothing that UTF-8 cannot write: a name ends in rows, in logs and on Flower's pages.
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{0,128}")
_ACCOUNT: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


class Forbidden(Refused):
    """The application may not create service instances in this business. `permission` is IAM's answer (CMDB 5.3)."""

    def __init__(self, bk_biz_id: int) -> None:
        super().__init__(Code.NO_PERMISSION)
        self.permission = iam_permission(bk_biz_id)


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
        if applications is not None and applications.gateways:
            from api_shim.identity.gateway import read_token  # noqa: PLC0415 - brings cryptography along

            self._read_token = read_token

    @classmethod
    def of(cls, settings: Settings) -> "Doorkeeper":
        """As configured.

        Raises:
            TomlFileInvalid: the file of applications cannot be used.
            ValueError: a trusted proxy is no address or network.
        """
        return cls(Applications.load(settings.apps_file) if settings.apps_file else None, settings.trusted_proxies)

    @property
    def is_open(self) -> bool:
        """Whether anybody may call."""
        return self._applications is None

    def greet(self, headers: Mapping[str, str], peer: str | None, signed_by: str | None = None) -> Identity | None:
        """Who calls, as far as the head tells it, before a byte of the body is read; None when the body has to.

        Args:
            headers: The request's, by lower-case name.
            peer: The address of the connection's other end.
            signed_by: Whose signature the request carries, if it has one; it is checked with the body.

        Raises:
            Refused: as `identify`.
        """
        if self._applications is None:
            return None
        token = headers.get(GATEWAY_HEADER)
        if token is not None and self._applications.gateways:
            return self._through_the_gateway(token, headers, peer)
        if signed_by is not None:
            application = self._applications.named(signed_by)
            if application is None or not application.signing_keys:
                raise Unauthenticated
            return None
        if AUTHORIZATION_HEADER not in headers and not is_basic(headers):
            return None
        said = of_head(headers)
        return self._identity(headers, peer, said, self._authenticated(said))

    def identify(
        self,
        headers: Mapping[str, str],
        body: Mapping[str, Any],
        peer: str | None,
        signed: SignedCall | None = None,
        greeted: Identity | None = None,
    ) -> Identity:
        """Who calls. The nonce of a signed call is for the caller of this to look at.

        Args:
            headers: The request's, by lower-case name.
            body: The decoded body. It may bring the credentials, or repeat the head's, but not contradict them.
            peer: The address of the connection's other end.
            signed: ESB's signature, when the request carries one; it then counts instead of any secret.
            greeted: What `greet` has found.

        Raises:
            Refused: 1306401 unknown application, wrong secret, or head and body name different ones; 1100004 the
                gateway's token is not valid; 1306406 the header is not a JSON object; 1199006/1199007 a name that
                cannot be stored or a supplier account that is not the application's.
        """
        said = of_both(of_head(headers), credentials_in(body))
        if greeted is not None:
            _refuse_other(said.bk_app_code, greeted.caller.bk_app_code)
            username = greeted.caller.bk_username or _storable(said.bk_username)
            return replace(greeted, caller=greeted.caller.model_copy(update={"bk_username": username}))
        if self._applications is None:
            return self._identity(headers, peer, replace(said, bk_app_code=""), None)
        if signed is None:
            return self._identity(headers, peer, said, self._authenticated(said))
        application = self._applications.named(signed.bk_app_code)
        if not signed.is_by(application.signing_keys if application else (), time.time()):
            raise Unauthenticated
        _refuse_other(said.bk_app_code, signed.bk_app_code)
        return self._identity(headers, peer, replace(said, bk_app_code=signed.bk_app_code), application)

    def address(self, headers: Mapping[str, str], peer: str | None) -> str:
        """Where a call comes from: the connection's other end, or who a trusted proxy says it forwards for.

        Of IPv6 the network of 64 bits, which is what one customer has of it.
        """
        forwarded = headers.get("x-forwarded-for", "").split(",") if self._is_proxy(peer) else []
        behind = (hop.strip() for hop in reversed(forwarded))
        found = next((hop for hop in behind if not self._is_proxy(hop)), peer) or ""
        address = _address(found)
        if address is None:
            return peer or ""
        return str(ipaddress.ip_network((int(address) >> 64 << 64, 64))) if address.version == 6 else str(address)

    def _through_the_gateway(self, token: str, headers: Mapping[str, str], peer: str | None) -> Identity:
        assert self._applications is not None  # noqa: S101 - `greet` has looked
        if self._proxies and not self._is_proxy(peer):
            raise Refused(Code.GATEWAY_AUTH_FAILED)
        said = self._read_token(token, self._applications.gateways)
        application = self._applications.named(said.bk_app_code)
        if application is None:
            raise Unauthenticated
        return self._identity(headers, peer, said, application)

    def _authenticated(self, said: Credentials) -> Application:
        assert self._applications is not None  # noqa: S101 - its callers have looked
        application = self._applications.authenticated(said.bk_app_code, said.bk_app_secret)
        if application is None:
            raise Unauthenticated
        return application

    def _identity(
        self, headers: Mapping[str, str], peer: str | None, said: Credentials, application: Application | None
    ) -> Identity:
        username = said.bk_username
        if self._is_proxy(peer):
            username = _one_of(headers, _USER_HEADERS, "bk_username") or username
        account = _one_of(headers, _SUPPLIER_HEADERS, "bk_supplier_account") or "0"
        if not _ACCOUNT.fullmatch(account) or (application and account not in application.supplier_accounts):
            raise Refused.field(Code.PARAM_INVALID, "bk_supplier_account", Why.ACCOUNT)
        caller = Caller(bk_app_code=said.bk_app_code, bk_username=_storable(username), bk_supplier_account=account)
        return Identity(caller, application)

    def _is_proxy(self, peer: str | None) -> bool:
        address = _address(peer or "")
        return address is not None and any(address in network for network in self._proxies)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """None for a name. A socket for both versions writes an address of IPv4 as one of IPv6: ``::ffff:10.0.0.1``."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _refuse_other(said: str, bk_app_code: str) -> None:
    if said not in ("", bk_app_code):
        raise Unauthenticated("bk_app_code", Why.CONTRADICTED)


def _storable(username: str) -> str:
    if not _NAME.fullmatch(username):
        raise Refused.field(Code.PARAM_INVALID, "bk_username", Why.USERNAME)
    return username


def _one_of(headers: Mapping[str, str], names: tuple[str, ...], path: str) -> str:
    """What headers of one meaning say; they may repeat each other, but not contradict."""
    said = {headers[name] for name in names if headers.get(name)}
    if len(said) > 1:
        raise Refused.field(Code.PARAM_INVALID, path, Why.CONTRADICTED)
    return said.pop() if said else ""
