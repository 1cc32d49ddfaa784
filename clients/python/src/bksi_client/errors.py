"""The ways in which a call ends without success. `idempotency_key` is what it was sent under, if anything."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bksi_client.asynchronous import AsyncOperation
    from bksi_client.blocking import Operation


class RequestRefused(Exception):
    """The server did not take the request. `envelope` is its answer, `retry_after` seconds where it named any."""

    def __init__(
        self,
        status_code: int,
        envelope: dict[str, Any],
        idempotency_key: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{envelope.get('code')}: {envelope.get('message')}")
        self.status_code = status_code
        self.envelope = envelope
        self.idempotency_key = idempotency_key
        self.retry_after = retry_after


class Unanswered(ConnectionError):
    """No answer came. Whether the server has taken the request is told by sending it again under the same key."""

    def __init__(self, reason: str, idempotency_key: str | None = None) -> None:
        super().__init__(reason)
        self.idempotency_key = idempotency_key


class BatchFailed(Exception):
    """The request ended with ``result`` false. `report` is the whole v1 answer."""

    def __init__(self, report: dict[str, Any], idempotency_key: str | None = None) -> None:
        super().__init__(f"{report['code']}: {report['message']}")
        self.report = report
        self.idempotency_key = idempotency_key


class StillRunning(TimeoutError):
    """The request has not ended yet; `operation` goes on waiting."""

    def __init__(self, operation: "Operation | AsyncOperation") -> None:
        super().__init__(f"{operation.request_id} is still running")
        self.operation = operation
        self.idempotency_key = operation.idempotency_key
