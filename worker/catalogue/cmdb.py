"""Call a live CMDB (API server, API gateway or ESB) patiently, and without ever showing a credential."""

import json
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, Final, Self

import httpx2
import stamina

from contract.credentials import SECRETS

ATTEMPTS: Final = 10
GIVE_UP_AFTER_S: Final = 300.0
LONGEST_WAIT_S: Final = 120.0
"""The most that one ``Retry-After`` makes us wait."""

_PATHS: Final = {
    "list_service_template": "POST /findmany/proc/service_template",
    "list_proc_template": "POST /findmany/proc/proc_template",
    "find_module_batch": "POST /findmany/module/bk_biz_id/{bk_biz_id}",
    "find_module_with_relation": "POST /findmany/module/with_relation/biz/{bk_biz_id}",
    "find_module_host_relation": "POST /findmany/module_relation/bk_biz_id/{bk_biz_id}",
    "find_host_biz_relations": "POST /hosts/modules/read",
    "list_biz_hosts": "POST /hosts/app/{bk_biz_id}/list_hosts",
    "resource_watch": "POST /event/watch/resource/{bk_resource}",
    "list_service_instance_detail": "POST /findmany/proc/service_instance/details",
    "create_service_instance": "POST /create/proc/service_instance",
    "create_process_instance": "POST /create/proc/process_instance",
    "update_process_instance": "PUT /update/proc/process_instance",
}
"""Method and native path, behind ``/api/v3``, of every API that is called; fields are those of the body."""
_BUSY: Final = frozenset({1199997, 1306429})
"""CMDB's limiter and ESB's, both answered with HTTP 200."""
_UNWELL: Final = frozenset((1199002, 1199017, 1199018, 1199020, 1199021, 1199058, 1199065, 1199066, 1199067))
"""A call from one of CMDB's servers to another, its database or its transaction failed; HTTP 200 all the same."""
_ESB_UNWELL: Final = frozenset((1306201, 1306208))
"""CMDB gave ESB no answer, or none that ESB could read."""
_UNEXPLAINED: Final = frozenset((1199998, 1199999, 1306000))
"""Something that CMDB or ESB has no code for: a server that is ill, or a body that breaks it each time."""
_IDENTITY_MISSING: Final = 1199027
_ESB: Final = "/api/c/compapi"


class CmdbRefused(Exception):
    """CMDB answered no, or something that is no answer; asking again would not help.

    `code` is CMDB's, 0 where it is none of CMDB's answers, and `said` its message.
    """

    def __init__(self, reason: str, code: int = 0, said: str = "") -> None:
        super().__init__(reason)
        self.code = code
        self.said = said or reason


class CmdbUnavailable(Exception):
    """CMDB did not answer, or is unwell; asking again later may help.

    `is_undone`: it has certainly not begun with what it was asked for. `after_s` is when to ask again, if it said so.
    `answer` is what it said where that may be a no after all, if it says so again and again.
    """

    def __init__(
        self,
        reason: str,
        *,
        is_undone: bool = False,
        after_s: float | None = None,
        answer: CmdbRefused | None = None,
    ) -> None:
        super().__init__(reason)
        self.is_undone = is_undone
        self.after_s = after_s
        self.answer = answer


class Cmdb:
    """A CMDB behind `url`; use it as a context manager.

    Args:
        url: the API server or a stage of the API gateway (paths ``/api/v3/…`` are put behind it), or ESB's component
            (``…/api/c/compapi/v2/cc``).
        authorization: JSON object of the ``X-Bkapi-Authorization`` header (``bk_app_code``, ``bk_app_secret``,
            ``bk_username`` …); None = none is sent.
        supplier_account: bk_supplier_account, which the API server wants as a header.
        timeout_s: connect and read time-out of one attempt.
        give_up_after_s: how long one call is tried again.

    Raises:
        CmdbRefused: `url` is none, `authorization` no JSON object, or `supplier_account` no header.
    """

    def __init__(
        self,
        url: str,
        authorization: str | None = None,
        *,
        supplier_account: str = "0",
        timeout_s: float = 30.0,
        give_up_after_s: float = GIVE_UP_AFTER_S,
    ) -> None:
        self.url = _checked_url(url)
        credentials = _parse_authorization(authorization)
        self._secrets = [value for name in SECRETS if isinstance(value := credentials.get(name), str) and value]
        self.supplier_account = supplier_account
        self._headers = _headers(credentials, supplier_account)
        self._timeout_s = timeout_s
        self._give_up_after_s = give_up_after_s
        self._client: httpx2.Client

    def __enter__(self) -> Self:
        """Keep connections open between calls."""
        self._client = httpx2.Client(headers=self._headers, timeout=self._timeout_s, verify=_trusted())
        return self

    def __exit__(self, *exception: object) -> None:
        """Close them."""
        self._client.close()

    def call(self, api: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Call one API, by CMDB's name of it, and return CMDB's whole answer, which has ``result`` true.

        Raises:
            CmdbRefused: the answer is no.
            CmdbUnavailable: no usable answer after `ATTEMPTS` attempts or `give_up_after_s` seconds.
        """
        try:
            for attempt in stamina.retry_context(
                on=_wait, attempts=ATTEMPTS, timeout=self._give_up_after_s, wait_initial=0.5, wait_max=30.0
            ):
                with attempt:
                    return self._call_once(api, body)
        except httpx2.RequestError as error:
            raise CmdbUnavailable(f"{api}: {self._reason(error)}") from None
        raise AssertionError("retry_context returns or raises")

    def change(self, api: str, body: Mapping[str, Any]) -> Any:
        """Call an API that changes something, once, and return the ``data`` of its answer.

        Raises:
            CmdbRefused: the answer is no, and nothing was changed.
            CmdbUnavailable: there was no answer. Unless it `is_undone`, everything may have been changed, or a part.
        """
        try:
            return self._call_once(api, body).get("data")
        except CmdbRefused as refused:
            if refused.code:
                raise
            raise CmdbUnavailable(str(refused)) from None
        except httpx2.RequestError as error:
            is_undone = isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout)
            raise CmdbUnavailable(f"{api}: {self._reason(error)}", is_undone=is_undone) from None

    def _call_once(self, api: str, body: Mapping[str, Any]) -> dict[str, Any]:
        method, path = _PATHS[api].split()
        url = f"{self.url}/api/v3{path.format_map(body)}"
        if _ESB in self.url:
            method, url = "POST", f"{self.url}/{api}/"
        response = self._client.request(method, url, json=body)
        answer = _json_object(response)
        code = answer.get("code", answer.get("bk_error_code"))
        if response.status_code == httpx2.codes.TOO_MANY_REQUESTS or code in _BUSY:
            raise CmdbUnavailable(f"{api}: too many requests", after_s=_retry_after(response), is_undone=True)
        if response.status_code >= httpx2.codes.INTERNAL_SERVER_ERROR and code != _IDENTITY_MISSING:
            raise CmdbUnavailable(f"{api}: HTTP {response.status_code}", after_s=_retry_after(response))
        if answer.get("result") is True and response.is_success:
            return answer
        if code is None:
            raise CmdbRefused(f"{api}: HTTP {response.status_code} without an answer of CMDB's; check the URL")
        message = self._plain(str(answer.get("message", answer.get("bk_error_msg", ""))))
        said = f"{api}: CMDB answered {code}: {message}"
        refused = CmdbRefused(said, code if isinstance(code, int) else 0, message)
        if refused.code in _UNWELL | _ESB_UNWELL | _UNEXPLAINED:
            raise CmdbUnavailable(said, answer=refused if refused.code in _UNEXPLAINED else None)
        raise refused

    def _reason(self, error: Exception) -> str:
        advice = "; SSL_CERT_FILE names a file of the authorities to trust" if _is_untrusted(error) else ""
        return f"{type(error).__name__}: {self._plain(str(error))}{advice}"

    def _plain(self, text: str) -> str:
        """Some servers repeat in an error what they were sent."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


@cache
def _trusted() -> ssl.SSLContext:
    """Whom to trust, read once: it takes 25 ms. Connections are made anew by each client.

    One that CMDB has closed meanwhile would leave it open whether a call was heard.
    """
    return httpx2.create_ssl_context()


def _wait(error: Exception) -> bool | float:
    if isinstance(error, CmdbUnavailable):
        return True if error.after_s is None else error.after_s
    return isinstance(error, httpx2.TransportError) and not _is_untrusted(error)


def _is_untrusted(error: Exception) -> bool:
    """Whether CMDB's certificate is of nobody whom this process trusts, which waiting does not mend."""
    return "CERTIFICATE_VERIFY_FAILED" in str(error)


def _checked_url(text: str) -> str:
    try:
        url = httpx2.URL(text)
    except httpx2.InvalidURL:
        raise CmdbRefused("the URL cannot be read") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise CmdbRefused("the URL must begin with http:// or https:// and a host")
    if url.userinfo or url.query or url.fragment:
        raise CmdbRefused("the URL must hold no credentials, query or fragment")
    plain = str(url).rstrip("/")
    return f"{plain}/v2/cc" if plain.endswith(_ESB) else plain


def _parse_authorization(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise CmdbRefused("the credentials are not a JSON object")
    return value


def _headers(credentials: Mapping[str, Any], supplier_account: str) -> dict[str, str]:
    """The gateway reads the first; an API server that is called directly wants the others, by new or old name."""
    user = str(credentials.get("bk_username", ""))
    if not (supplier_account.isascii() and supplier_account.isprintable()):
        raise CmdbRefused("the supplier account must be printable ASCII")
    headers = {
        "X-Bkcmdb-Language": "en",
        "X-Bkcmdb-Supplier-Account": supplier_account,
        "HTTP_BLUEKING_SUPPLIER_ID": supplier_account,
    }
    if credentials:
        headers["X-Bkapi-Authorization"] = json.dumps(credentials)
    if user and user.isascii() and user.isprintable():
        headers |= {"X-Bkcmdb-User": user, "BK_User": user}
    return headers


def _json_object(response: httpx2.Response) -> dict[str, Any]:
    try:
        value = response.json()
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _retry_after(response: httpx2.Response) -> float | None:
    """Seconds or an HTTP date (RFC 9110 10.2.3)."""
    text = response.headers.get("retry-after", "").strip()
    if text.isdecimal():
        return min(float(text), LONGEST_WAIT_S)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return min(max((until - datetime.now(UTC)).total_seconds(), 0.0), LONGEST_WAIT_S)
