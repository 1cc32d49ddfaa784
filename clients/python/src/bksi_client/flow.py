"""What a client does, step by step, without doing it: generators that ask for I/O and are sent its outcome.

`Client` and `AsyncClient` run the same steps, one blocking, one awaiting. So there is one place that decides when a
call is repeated, how long something is waited for and what an answer means.
"""

import logging
import random
import ssl
import time
import uuid
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import httpx2

from bksi_client import calls
from bksi_client.calls import Call
from bksi_client.errors import TimedOut, Unanswered
from bksi_client.options import Options

ATTEMPT_S: Final = calls.LONGEST_POLL_S + 10.0
"""Each step of one try of one call, where no `timeout` says less."""
UPLOAD_S: Final = 600.0
"""The same while a stream is sent: the server reads it as fast as it can, and answers after the last of it."""
_BUSY_STATUSES: Final = (429, 502, 503, 504)
_BUSY_CODES: Final = (1199997, 1190006, 1190007)
"""The same on the old paths, which answer 200: too many calls, queue full, queue away."""
_LONGEST_PAUSE_S: Final = 30.0
"""A server that asks for more is not waited for: its caller has better things to do."""
_FIRST_PAUSE_S: Final = 0.1
_USUAL_PAUSE_S: Final = 5.0

_log = logging.getLogger("bksi_client")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Send:
    """Send `call`; the outcome is a response or an `httpx2.RequestError`.

    Args:
        call: what.
        options: as whom, and so on.
        seconds: after which it has to be given up, whatever the server does; None where each step of it has its own
            limit, `ATTEMPT_S`.
    """

    call: Call
    options: Options
    seconds: float | None

    @property
    def step_s(self) -> float:
        """Seconds for each step of it."""
        usual = ATTEMPT_S if self.call.lines is None else UPLOAD_S
        return usual if self.seconds is None else min(usual, self.seconds)

    def arguments(self) -> dict[str, Any]:
        """For the HTTP client's ``request``."""
        call = self.call
        return {
            "method": call.method,
            "url": self.options.url + call.path,
            "json": call.json,
            "content": call.lines,
            "params": dict(call.params) or None,
            "headers": self.options.headers() | dict(call.headers),
        }


@dataclass(frozen=True, slots=True)
class Sleep:
    """Let so much time pass; the outcome is None."""

    seconds: float


Steps = Generator[Send | Sleep, httpx2.Response | None, T]


class Deadline:
    """When something has to be over; never, for None.

    Args:
        seconds: from now.
    """

    def __init__(self, seconds: float | None) -> None:
        self._at = None if seconds is None else time.monotonic() + seconds
        self.seconds = seconds

    @property
    def left(self) -> float | None:
        """Seconds, at least 0; None for ever."""
        return None if self._at is None else max(self._at - time.monotonic(), 0.0)

    @property
    def is_over(self) -> bool:
        """Whether it has passed."""
        return self.left == 0

    def within(self, seconds: float) -> float:
        """As many of `seconds` as are left."""
        return seconds if self.left is None else min(seconds, self.left)

    def allows(self, seconds: float) -> bool:
        """Whether there is time to let `seconds` pass, and to do something then."""
        return self.left is None or seconds < self.left


def perform(call: Call, options: Options, deadline: Deadline | None = None) -> Steps[httpx2.Response]:
    """Send `call`, and again while the server is away or busy, for as long as `options` and `deadline` let.

    Raises:
        Unanswered: no answer came; TimedOut where it is the time that was up.
    """
    deadline = deadline or Deadline(options.timeout)
    patience = Deadline(options.patience_s)
    attempt = 0
    while True:
        attempt += 1
        response: httpx2.Response | None = None
        failed: httpx2.RequestError | None = None
        try:
            response = yield Send(call, options, deadline.left)
        except httpx2.RequestError as error:
            failed = error
        pause = _pause(call, response, failed, attempt, deadline.within(patience.left or 0))
        may_repeat = call.is_repeatable and (options.retries is None or attempt <= options.retries)
        repeats = pause is not None and may_repeat and patience.allows(pause)
        if pause is None or not repeats or not deadline.allows(pause):
            if response is not None:
                return response
            is_late = deadline.is_over or repeats
            raise _unanswered(call, failed, deadline.seconds if is_late else None) from failed
        _log.info("%s %s again in %.1f s: %s", call.method, call.path, pause, _why(response, failed))
        yield Sleep(pause)


def submit(call: Call, id_name: str, options: Options) -> Steps[tuple[str, httpx2.Response]]:
    """Enqueue what `call` brings: the id that the answer has under `id_name`, and the answer."""
    response = yield from perform(call, options)
    return calls.answer(response, call.key)[id_name], response


def ask(call: Call, options: Options) -> Steps[Any]:
    """The body of the answer."""
    return calls.answer((yield from perform(call, options)), call.key)


def key_of(given: str | None) -> str:
    """The idempotency key of a call: the one that was given, else one that nobody else has."""
    return uuid.uuid4().hex if given is None else given


def _is_busy(call: Call, response: httpx2.Response) -> bool:
    """Whether the answer asks to come again."""
    if response.status_code in _BUSY_STATUSES:
        return True
    return not call.path.startswith("/v1/") and calls.body_of(response).get("code") in _BUSY_CODES


def _pause(
    call: Call, response: httpx2.Response | None, failed: httpx2.RequestError | None, attempt: int, left: float
) -> float | None:
    """Seconds before the call is repeated; None when another try would end alike."""
    # Longer and longer, but not as long as to waste half of the time that is `left`.
    usual = min(_FIRST_PAUSE_S * 2 ** min(attempt - 1, 10), _USUAL_PAUSE_S, max(left / 2, _FIRST_PAUSE_S))
    # Everybody was told the same; not everybody must come at the same moment.
    spread = random.uniform(1.0, 1.2)  # noqa: S311 - no secret
    if response is None:
        return usual * spread if failed is not None and _may_get_better(failed) else None
    if not _is_busy(call, response):
        return None
    asked = calls.retry_after(response)
    if asked is not None and asked > _LONGEST_PAUSE_S:
        return None
    return (usual if asked is None else asked) * spread


def _may_get_better(failed: httpx2.RequestError) -> bool:
    """Whether another try may end otherwise: not with a wrong URL, a wrong certificate or an unreadable answer."""
    lost = isinstance(failed, httpx2.TransportError)
    if not lost or isinstance(failed, httpx2.UnsupportedProtocol | httpx2.LocalProtocolError):
        return False
    cause: BaseException | None = failed
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return False
        cause = cause.__cause__ or cause.__context__
    return True


def _unanswered(call: Call, failed: httpx2.RequestError | None, seconds: float | None) -> Unanswered:
    if seconds is not None:
        return TimedOut(f"no answer within {seconds:.3g} s ({_why(None, failed)})", idempotency_key=call.key)
    return Unanswered(_why(None, failed), idempotency_key=call.key)


def _why(response: httpx2.Response | None, failed: httpx2.RequestError | None) -> str:
    if response is not None:
        return f"HTTP {response.status_code}"
    return f"{type(failed).__name__}: {failed}" if str(failed) else type(failed).__name__
