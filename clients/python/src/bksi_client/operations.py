"""Something that was submitted and goes on without its submitter: what is known of it, and the steps to learn more."""

import time
from collections.abc import Callable
from typing import Any, ClassVar, Final, Generic, TypeVar, cast

import httpx2

from bksi_client import calls
from bksi_client.calls import LONGEST_POLL_S
from bksi_client.errors import BatchFailed, BksiError, JobFailed, StillRunning, TimedOut
from bksi_client.flow import Deadline, Sleep, Steps, perform
from bksi_client.options import Options
from bksi_client.types import FINAL, JobReport, Report

R = TypeVar("R", bound=Report | JobReport)
_ONE_LOOK_S: Final = 0.5
"""However short a `timeout` is, one look may take so long."""


class Pending(Generic[R]):
    """What a request and a job have in common.

    Attributes:
        id: under which the server knows it.
        idempotency_key: under which it was submitted, where that is known.
        report: the last report that came; None before the first.
        response: the last answer about it, with its status and headers.
    """

    _folder: ClassVar[str]
    _id_name: ClassVar[str]
    """Of its id, in an answer."""
    _failed: ClassVar[Callable[..., BksiError]]
    """What is raised of one that did not succeed."""

    def __init__(self, options: Options, id_: str, idempotency_key: str | None = None) -> None:
        self._options = options
        self.id = id_
        self.idempotency_key = idempotency_key
        self.report: R | None = None
        self.response: httpx2.Response | None = None

    @property
    def _path(self) -> str:
        return calls.path_of(self._folder, self.id)

    @property
    def _is_final(self) -> bool:
        return self.report is not None and self.report["status"] in FINAL

    def __repr__(self) -> str:
        status = "" if self.report is None else f" {self.report['status']}"
        return f"<{type(self).__name__} {self.id}{status}>"

    def _note(self, response: httpx2.Response) -> R:
        self.response = response
        self.report = cast("R", calls.answer(response, self.idempotency_key))
        return self.report

    def _look(self, wait_s: float = 0, deadline: Deadline | None = None) -> Steps[R]:
        response = yield from perform(calls.poll(self._path, wait_s), self._options, deadline)
        return self._note(response)

    def _wait(self, timeout: float | None) -> Steps[R]:
        deadline = Deadline(timeout)
        at_least = _ONE_LOOK_S
        while not self._is_final:
            asked_at, wait_s = time.monotonic(), self._poll_s(deadline)
            try:
                call_ends = None if deadline.left is None else Deadline(max(deadline.left, at_least))
                yield from self._look(wait_s, call_ends)
            except TimedOut as late:
                if timeout is None:
                    raise
                raise self._still_running() from late
            at_least = 0
            if self._is_final:
                break
            if deadline.is_over:
                raise self._still_running()
            # A server that has waited as it was asked to is asked again at once.
            if not time.monotonic() - asked_at >= int(wait_s) >= 1:
                yield Sleep(
                    deadline.within(1.0 if self._retry_after is None else max(self._retry_after, _ONE_LOOK_S / 10))
                )
            if deadline.is_over:
                raise self._still_running()
        return cast("R", self.report)

    def _still_running(self) -> StillRunning:
        # It is one of the four that can be waited for.
        return StillRunning(cast("Any", self), retry_after=self._retry_after)

    def _watch(self, every_s: float) -> Steps[R]:
        """The next report, after `every_s` seconds or at the end."""
        if self.report is None:
            return (yield from self._look())
        asked_at = time.monotonic()
        report = yield from self._look(max(every_s, 1))
        # Shorter than the server can wait, or a server that does not wait.
        left = every_s - (time.monotonic() - asked_at)
        if not self._is_final and left > 0:
            yield Sleep(left)
        return report

    def _result(self, timeout: float | None) -> Steps[R]:
        report = yield from self._wait(timeout)
        if (failure := self._failure(report)) is not None:
            raise failure
        return report

    def _exception(self, timeout: float | None) -> Steps[BksiError | None]:
        return self._failure((yield from self._wait(timeout)))

    def _act(self, verb: str) -> Steps[httpx2.Response]:
        return (yield from perform(calls.Call("POST", f"{self._path}:{verb}", key=self.idempotency_key), self._options))

    def _cancel(self) -> Steps[R]:
        return self._note((yield from self._act("cancel")))

    def _retry(self) -> Steps[str]:
        """The id of the one that was submitted instead."""
        return str(calls.answer((yield from self._act("retry")), self.idempotency_key)[self._id_name])

    def _failure(self, report: R) -> BksiError | None:
        succeeded = report["status"] == "SUCCESS"
        return None if succeeded else self._failed(report, idempotency_key=self.idempotency_key)

    @property
    def _retry_after(self) -> float | None:
        return None if self.response is None else calls.retry_after(self.response)

    def _poll_s(self, deadline: Deadline) -> float:
        """How long a server may wait before it answers: less than what a call may take in all."""
        of_call = LONGEST_POLL_S if self._options.timeout is None else self._options.timeout / 2
        return deadline.within(min(LONGEST_POLL_S, of_call))


class PendingRequest(Pending[Report]):
    """A request of up to 100 instances."""

    _folder = calls.BATCHES
    _id_name = "request_id"
    _failed = BatchFailed

    @property
    def request_id(self) -> str:
        """Under which the server knows it."""
        return self.id


class PendingJob(Pending[JobReport]):
    """A job of any number of instances."""

    _folder = calls.JOBS
    _id_name = "job_id"
    _failed = JobFailed

    @property
    def _is_final(self) -> bool:
        if self.report is not None and self.report["status"] == "INTERRUPTED":
            # What was accepted before may still run.
            counted = self.report["statistics"]
            return counted["pending_count"] + counted["running_count"] == 0
        return super()._is_final

    @property
    def job_id(self) -> str:
        """Under which the server knows it."""
        return self.id
