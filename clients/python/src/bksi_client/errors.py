"""The ways in which a call ends without success. They can be pickled, and all say the same things of themselves."""

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from bksi_client.asynchronous import AsyncJob, AsyncOperation
    from bksi_client.blocking import Job, Operation
    from bksi_client.types import JobReport, Problem, Report

    Submitted: TypeAlias = Operation | Job | AsyncOperation | AsyncJob


class BksiError(Exception):
    """Why a call did not succeed.

    Attributes:
        code: the server's number, None where no server has said anything.
        message: one line for people, without the number.
        request_id: of the request that it is about; None when it has none yet.
        retry_after: seconds after which another try is worth its while, where the server has named them.
        idempotency_key: what the request was sent under. Sent again under it, it is the same request.
    """

    def __init__(
        self,
        message: str,
        *,
        code: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        idempotency_key: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.request_id = request_id
        self.retry_after = retry_after
        self.idempotency_key = idempotency_key

    def __str__(self) -> str:
        return self.message if self.code is None else f"{self.code}: {self.message}"

    def __repr__(self) -> str:
        names = ("code", "request_id", "idempotency_key", "retry_after")
        said = [f"{name}={value!r}" for name in names if (value := getattr(self, name)) is not None]
        return f"{type(self).__name__}({', '.join([repr(self.message), *said])})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.message, self._kept())

    def _kept(self) -> dict[str, Any]:
        """What a pickle carries."""
        return dict(self.__dict__)


def _again(kind: type[BksiError], message: str, state: dict[str, Any]) -> BksiError:
    error = kind.__new__(kind, message)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    return error


class RequestRefused(BksiError):
    """The server did not take the request.

    Attributes:
        status_code: HTTP's.
        envelope: the whole answer.
        errors: what is wrong, field by field, at most 20.
        first_index: of `Client.submit_many`: the place, in all that was to be submitted, of the first instance of the
            part that was refused. The parts before it are accepted. Paths count from the very first instance.
    """

    def __init__(
        self,
        status_code: int,
        envelope: dict[str, Any],
        *,
        idempotency_key: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(
            str(envelope.get("message")),
            code=envelope.get("code"),
            request_id=envelope.get("request_id"),
            retry_after=retry_after,
            idempotency_key=idempotency_key,
        )
        self.status_code = status_code
        self.envelope = envelope
        self.errors: list[Problem] = envelope.get("errors") or []
        self.first_index = 0


class Unanswered(BksiError, ConnectionError):
    """No answer came. Whether the server has taken the request is told by sending it again under the same key."""


class TimedOut(Unanswered, TimeoutError):
    """No answer came within the `timeout` of the call."""


class BatchFailed(BksiError):
    """The request ended with ``result`` false. `report` is the whole v1 answer."""

    def __init__(self, report: "Report", *, idempotency_key: str | None = None) -> None:
        super().__init__(
            report["message"], code=report["code"], request_id=report["request_id"], idempotency_key=idempotency_key
        )
        self.report = report


class JobFailed(BksiError):
    """Not every instance of the job is there. `report` is the job."""

    def __init__(self, report: "JobReport", *, idempotency_key: str | None = None) -> None:
        super().__init__(
            report["message"], code=report["code"], request_id=report["job_id"], idempotency_key=idempotency_key
        )
        self.report = report


class StillRunning(BksiError, TimeoutError):
    """The request is not known to have ended; `operation` goes on waiting. Without it when it comes out of a pickle."""

    def __init__(self, operation: "Submitted", *, retry_after: float | None = None) -> None:
        super().__init__(
            f"{operation.id} {'is not known to have ended' if operation.report is None else 'is still running'}",
            request_id=operation.id,
            retry_after=retry_after,
            idempotency_key=operation.idempotency_key,
        )
        self.operation: Submitted | None = operation

    def _kept(self) -> dict[str, Any]:
        return super()._kept() | {"operation": None}
