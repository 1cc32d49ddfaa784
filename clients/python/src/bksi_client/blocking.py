"""The client for threads."""

import time
import uuid
from collections.abc import Mapping
from typing import Any, Self

import httpx2

from bksi_client import calls
from bksi_client.calls import Json, Look
from bksi_client.errors import StillRunning, Unanswered


class Operation:
    """A submitted request."""

    def __init__(self, client: "Client", request_id: str, idempotency_key: str | None = None) -> None:
        self._client = client
        self.request_id = request_id
        self.idempotency_key = idempotency_key

    def status(self, wait_s: float = 0) -> Json:
        """The v1 report; with `wait_s` as soon as the request ends, at most 20 seconds later."""
        return self._client.poll(self.request_id, wait_s)

    def done(self) -> bool:
        """Whether it has ended."""
        return self._client.look(self.request_id).is_final

    def wait(self, timeout: float | None = None) -> Json:
        """The final report, whatever it says.

        Raises:
            StillRunning: it has not ended within `timeout` seconds.
        """
        ends_at = None if timeout is None else time.monotonic() + timeout
        while True:
            left = calls.LONGEST_POLL_S if ends_at is None else max(ends_at - time.monotonic(), 0)
            look = self._client.look(self.request_id, min(left, calls.LONGEST_POLL_S))
            if look.is_final:
                return look.report
            if ends_at is not None and time.monotonic() >= ends_at:
                raise StillRunning(self)
            time.sleep(look.pause(ends_at))

    def result(self, timeout: float | None = None) -> Json:
        """The final report of a success.

        Raises:
            BatchFailed: it ended otherwise.
            StillRunning: it has not ended within `timeout` seconds.
        """
        return calls.outcome(self.wait(timeout), self.idempotency_key)

    def progress(self) -> dict[str, int]:
        """The counters: total_count, success_count, failed_count, pending_count, running_count."""
        return dict(self.status()["statistics"])

    def cancel(self) -> Json:
        """End it before a worker starts it; raises `RequestRefused` (409) when that is too late."""
        return self._client.act(self.request_id, "cancel")

    def retry(self) -> "Operation":
        """Submit it again after it has failed: a new operation."""
        return Operation(self._client, self._client.act(self.request_id, "retry")["request_id"])


class Client:
    """Blocking client of one server. Use it as a context manager, or `close` it.

    Every method raises `RequestRefused` for an answer of 400 and above, and `Unanswered` when none came.

    Args:
        url: of the server.
        bk_app_code: of the calling application.
        bk_app_secret: of the calling application.
        bk_username: whom the application calls for.
        patience_s: for how long a call is repeated while the server is away or busy, in seconds; 0 = never.
    """

    def __init__(
        self,
        url: str,
        *,
        bk_app_code: str = "",
        bk_app_secret: str = "",
        bk_username: str = "",
        patience_s: float = 60.0,
    ) -> None:
        headers = calls.identity_headers(bk_app_code, bk_app_secret, bk_username)
        self._patience_s = patience_s
        self._http = httpx2.Client(base_url=url, headers=headers, timeout=calls.HTTP_TIMEOUT_S)

    def __enter__(self) -> Self:
        """Nothing is opened before the first call."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def submit(self, batch: Mapping[str, Any], idempotency_key: str | None = None) -> Operation:
        """Enqueue up to 100 instances, once under its key; without one it gets a fresh key."""
        key = idempotency_key or uuid.uuid4().hex
        answer = calls.answer(self._send(calls.submission(batch, key), key), key)
        return Operation(self, answer["request_id"], key)

    def submit_many(self, batch: Mapping[str, Any], idempotency_key: str | None = None) -> list[Operation]:
        """Enqueue any number of instances, 100 to a request, in order; one key covers all of them."""
        key = idempotency_key or uuid.uuid4().hex
        return [self.submit(part, f"{key}.{number}") for number, part in enumerate(calls.parts(batch))]

    def act(self, request_id: str, verb: str) -> Json:
        """``cancel`` or ``retry`` a request of this application."""
        return calls.answer(self._send(calls.act(request_id, verb)))

    def poll(self, request_id: str, wait_s: float = 0) -> Json:
        """The v1 report of any request of this application."""
        return self.look(request_id, wait_s).report

    def look(self, request_id: str, wait_s: float = 0) -> Look:
        """Like `poll`, with the server's word about when to ask again."""
        asked_at = time.monotonic()
        response = self._send(calls.poll(request_id, wait_s))
        return Look(calls.answer(response), asked_at, wait_s, calls.retry_after(response) or 1)

    def validate(self, batch: Mapping[str, Any]) -> Json:
        """What would be created, found or refused; nothing is written."""
        return calls.answer(self._send(calls.validation(batch)))

    def create_service_instance(self, payload: Mapping[str, Any]) -> Json:
        """The old call: the envelope of CMDB's six keys, after the server has waited for the rows."""
        return calls.answer(self._send(calls.old_call(payload)))

    def _send(self, call: Json, key: str | None = None) -> httpx2.Response:
        try:
            for attempt in calls.repetitions(self._patience_s):
                with attempt:
                    return calls.unless_busy(self._http.request(**call))
        except calls.Busy as busy:
            return busy.response
        except httpx2.TransportError as error:
            raise Unanswered(f"{type(error).__name__}: {error}", key) from error
        raise AssertionError  # stamina raises the last error instead of running out
