"""Which of the messages that a channel takes go on to Celery, and what becomes of the others."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import structlog
from kombu.utils.json import loads
from redis.exceptions import ResponseError

from contract.redis.records import MAX_PARKED
from worker.consumer.transport.aside import Aside
from worker.consumer.transport.deliveries import Deliveries, Taken
from worker.consumer.transport.link import Link
from worker.consumer.transport.screen import NewerVersion, Screen, Unfit
from worker.metrics import DEAD_LETTERS

_log = structlog.get_logger(__name__)
MESSAGE_ERRORS: Final = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What a message that the screen did not see through may raise."""


class Admission:
    """Of one channel. `queue_of` names the queue that a message came from."""

    def __init__(self, screen: Screen, deliveries: Deliveries, link: Link, queue_of: Callable[[Taken], str]) -> None:
        self._screen = screen
        self._deliveries = deliveries
        self._aside = Aside(deliveries)
        self._ask = link.ask
        self._queue_of = queue_of
        self._newer: list[tuple[Taken, str]] = []

    def admit(self, taken: Sequence[Taken], is_screened: Callable[[str], bool]) -> list[tuple[Taken, dict[str, Any]]]:
        """Those that may go on, each as kombu expects it; the others are set aside.

        `is_screened` says whether what comes from a queue may be anything.
        """
        admitted = [
            (one, payload)
            for one in taken
            if (payload := self._payload(one, is_screened=is_screened(self._queue_of(one)))) is not None
        ]
        self._park()
        return admitted

    def _payload(self, taken: Taken, *, is_screened: bool) -> dict[str, Any] | None:
        try:
            payload = self._screen.check(taken.raw, taken.size) if is_screened else loads(taken.raw)
            payload["properties"]["delivery_tag"] = taken.tag
        except NewerVersion as newer:
            self._newer.append((taken, newer.task))
        except Unfit as unfit:
            self.bury(taken, str(unfit))
        except MESSAGE_ERRORS as error:
            self.bury(taken, f"not a message: {type(error).__name__}")
        else:
            return payload
        return None

    def bury(self, taken: Taken, reason: str) -> None:
        """Set one aside for an operator."""
        _log.warning("message set aside", reason=reason, queue=self._queue_of(taken), size=taken.size)
        if self._ask(lambda: self._aside.bury(taken, reason)) is None:
            self._deliveries.postpone(taken.tag)
        else:
            DEAD_LETTERS.labels("unfit").inc()

    def _park(self) -> None:
        """Set what is for newer workers aside, so that nothing behind it has to wait."""
        newer, self._newer = self._newer, []
        if not newer:
            return
        over = self._ask(lambda: self._aside.park(newer))
        if over is None:
            for taken, _ in newer:
                self._deliveries.postpone(taken.tag)
            return
        _log.info("parked for newer workers", messages=len(newer) - len(over))
        for taken in over:
            self.bury(taken, f"headers.task is of a newer version, and {MAX_PARKED} such messages are parked already")

    def sift(self) -> None:
        """Bring back what was parked and is known here, and set aside what was parked for too long."""
        moved, buried = self._ask(lambda: self._aside.sift(self._screen.names or ())) or (0, 0)
        if moved:
            _log.info("took back what was parked", messages=moved)
        DEAD_LETTERS.labels("parked too long").inc(buried)
        if buried:
            _log.warning("parked for too long, set aside", messages=buried)

    def set_misfits_aside(self, lists: Sequence[str]) -> None:
        """Take away what stands where lists belong."""
        try:
            for reason in self._aside.set_misfits_aside(lists):
                _log.error("key set aside", reason=reason)
                DEAD_LETTERS.labels("no list").inc()
        except ResponseError as error:
            _log.error("key not set aside", error=type(error).__name__)
