"""What both clients send, how they read an answer, and what they repeat."""

import json
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx2
import stamina

from bksi_client.errors import BatchFailed, RequestRefused

Json = dict[str, Any]
FINAL_STATUSES: Final = frozenset({"SUCCESS", "FAILED", "PART_FAILED", "TERMINATED"})
ESB_PATH: Final = "/api/c/compapi/v2/cc/create_service_instance/"
MAX_INSTANCES: Final = 100
"""In one request; the server refuses more (1199035)."""
LONGEST_POLL_S: Final = 20
HTTP_TIMEOUT_S: Final = LONGEST_POLL_S + 10
_BUSY_STATUSES: Final = (429, 503)
_BUSY_CODES: Final = (1199997, 1190006, 1190007)
"""The same on the old path, which answers 200: too many calls, queue full, queue away."""
_LONGEST_PAUSE_S: Final = 30.0
"""A server that asks for more is not waited for: its caller has better things to do."""


class Busy(Exception):
    """The answer asks to come again."""

    def __init__(self, response: httpx2.Response) -> None:
        super().__init__(response.status_code)
        self.response = response
        self.retry_after = retry_after(response)


@dataclass(frozen=True, slots=True)
class Look:
    """One poll: the report, and how soon after its `asked_at` (`time.monotonic`) another one is worth its while."""

    report: Json
    asked_at: float
    wait_s: float
    retry_after: float

    @property
    def is_final(self) -> bool:
        """Whether the request has ended."""
        return self.report["status"] in FINAL_STATUSES

    def pause(self, ends_at: float | None) -> float:
        """Seconds to sleep before the next look: none where the server has waited as it was asked to."""
        now = time.monotonic()
        if now - self.asked_at >= int(self.wait_s) >= 1:
            return 0
        return self.retry_after if ends_at is None else max(min(self.retry_after, ends_at - now), 0)


def identity_headers(bk_app_code: str, bk_app_secret: str, bk_username: str) -> dict[str, str]:
    """The header that says who calls, empty for nobody."""
    identity = {"bk_app_code": bk_app_code, "bk_app_secret": bk_app_secret, "bk_username": bk_username}
    given = {name: value for name, value in identity.items() if value}
    return {"X-Bkapi-Authorization": json.dumps(given)} if given else {}


def submission(batch: Mapping[str, Any], key: str) -> Json:
    """Arguments of the POST that enqueues `batch`."""
    return {"method": "POST", "url": "/v1/batches", "json": dict(batch), "headers": {"Idempotency-Key": key}}


def poll(request_id: str, wait_s: float) -> Json:
    """Arguments of the GET that answers at the end, or after `wait_s` seconds."""
    headers = {"Prefer": f"wait={int(wait_s)}"} if wait_s >= 1 else {}
    return {"method": "GET", "url": f"/v1/batches/{request_id}", "headers": headers}


def act(request_id: str, verb: str) -> Json:
    """Arguments of the POST that cancels or retries."""
    return {"method": "POST", "url": f"/v1/batches/{request_id}:{verb}"}


def validation(batch: Mapping[str, Any]) -> Json:
    """Arguments of the POST that only looks."""
    return {"method": "POST", "url": "/v1/batches:validate", "json": dict(batch)}


def old_call(payload: Mapping[str, Any]) -> Json:
    """Arguments of ESB's POST. It needs no key: while it is unfinished, the same body again is the same request."""
    return {"method": "POST", "url": ESB_PATH, "json": dict(payload)}


def repetitions(patience_s: float) -> Any:
    """Attempts, until an answer that is not `Busy`, or until `patience_s` are over."""
    # Without a limit of either kind stamina goes on for ever.
    attempts, timeout = (None, patience_s) if patience_s > 0 else (1, None)
    return stamina.retry_context(on=_again, attempts=attempts, timeout=timeout, wait_max=5.0)


def unless_busy(response: httpx2.Response) -> httpx2.Response:
    """`response`; raises `Busy` in place of one that asks to come again."""
    if response.status_code in _BUSY_STATUSES or _body(response).get("code") in _BUSY_CODES:
        raise Busy(response)
    return response


def answer(response: httpx2.Response, key: str | None = None) -> Json:
    """The body of an answered call.

    Raises:
        RequestRefused: any status of 400 and above.
    """
    body = _body(response) or {"result": False, "code": None, "message": f"HTTP {response.status_code}, no envelope"}
    if response.status_code >= 400:
        raise RequestRefused(response.status_code, body, key, retry_after(response))
    return body


def outcome(report: Json, key: str | None) -> Json:
    """`report`, if it is a success.

    Raises:
        BatchFailed: it is not.
    """
    if report["status"] != "SUCCESS":
        raise BatchFailed(report, key)
    return report


def parts(batch: Mapping[str, Any]) -> Iterator[Json]:
    """`batch` cut into as many as its instances need."""
    instances = list(batch.get("instances") or ())
    for start in range(0, max(len(instances), 1), MAX_INSTANCES):
        yield {**batch, "instances": instances[start : start + MAX_INSTANCES]}


def retry_after(response: httpx2.Response) -> float | None:
    """The ``Retry-After`` of `response` in seconds."""
    text = response.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() else None


def _again(error: Exception) -> bool | float:
    if not isinstance(error, Busy):
        return isinstance(error, httpx2.TransportError)
    if error.retry_after is None:
        return True
    # Everybody was told the same number; not everybody must come at the same moment.
    return error.retry_after <= _LONGEST_PAUSE_S and error.retry_after * random.uniform(1.0, 1.2)  # noqa: S311 - a spread


def _body(response: httpx2.Response) -> Json:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
