"""How a channel stands with the Redis it asks: heard, refused, or broken off."""

import time
from collections.abc import Callable
from typing import ClassVar, Final, TypeVar

import structlog
from kombu.exceptions import OperationalError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from contract.redis.connection import WrongServer, is_elsewhere, refusal_of

T = TypeVar("T")
_log = structlog.get_logger(__name__)
BROKER_ERRORS: Final = (RedisConnectionError, RedisTimeoutError, OperationalError, OSError)
"""The broker is away. kombu counts KeyError among these, which a bad message can raise as well."""
_ASK_AGAIN_AFTER_S: Final = 1.0
_RECONNECT_AFTER_S: Final = 5.0
"""After a reconnection that led to a server which is the wrong one as well."""


class Link:
    """Of one channel. `mend` takes away what stands where a list belongs."""

    heard: ClassVar[float] = 0.0
    """When Redis last answered a consumer of this process (`time.monotonic`). A beat of an event loop that runs makes
    this younger than `owner_ttl_ms`, work or not: what a watchdog needs to know."""
    reconnects_from: ClassVar[float] = 0.0
    """When a server that is not the one to ask is left again (`time.monotonic`)."""

    def __init__(self, mend: Callable[[], None]) -> None:
        self.is_broken = False
        self.ask_again_at = 0.0
        self._refusal = ""
        self._mend = mend

    def ask(self, question: Callable[[], T], /) -> T | None:
        """Ask Redis; ``None`` when it refuses, which is tried again after a while."""
        try:
            answer = question()
        except BROKER_ERRORS:
            self.is_broken = True
            raise
        except ResponseError as error:
            self.refused(error)
            return None
        Link.heard = time.monotonic()
        if self._refusal:
            _log.warning("Redis takes commands again")
            self._refusal = ""
        return answer

    def refused(self, error: ResponseError) -> None:
        """Redis has refused: say so once, mend what can be mended, and ask no more for a while.

        Raises:
            WrongServer: another one is to be asked.
        """
        self.ask_again_at = time.monotonic() + _ASK_AGAIN_AFTER_S
        refusal = refusal_of(error)
        if refusal != self._refusal:
            _log.error("Redis refuses", error=type(error).__name__, refusal=refusal)
            self._refusal = refusal
        if refusal == "WRONGTYPE":
            self._mend()
        self._leave_wrong_server(error)

    def _leave_wrong_server(self, error: ResponseError) -> None:
        """Have Celery reconnect: where it does, another server may answer. But not without end, where none does."""
        now = time.monotonic()
        if is_elsewhere(error) and now >= Link.reconnects_from:
            Link.reconnects_from = now + _RECONNECT_AFTER_S
            self.is_broken = True
            raise WrongServer(f"{refusal_of(error)}: another server is the one to ask") from error
