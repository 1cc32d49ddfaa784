"""The ways in which the submitter says no, each a fact with its code."""

from collections.abc import Awaitable
from enum import StrEnum
from typing import TypeVar

from redis.exceptions import RedisError

from contract.answer.status import Status
from contract.codes import Code, Refused

T = TypeVar("T")


class BrokerUnavailable(Refused):
    """Redis, or the broker, does not answer; nothing is known to have been accepted."""

    def __init__(self) -> None:
        super().__init__(Code.BROKER_UNAVAILABLE)


class Busy(Refused):
    """The queue is full. `retry_after` is in seconds, from the backlog and the measured drain rate."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(Code.QUEUE_FULL)
        self.retry_after = retry_after


class NotFound(Refused):
    """There is no request or job of this application under the id."""

    def __init__(self) -> None:
        super().__init__(Code.REQUEST_NOT_FOUND)


class RecallUnanswered(Refused):
    """Redis does not know the request, and no worker has said yet whether PostgreSQL does; `retry_after` in seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(Code.BROKER_UNAVAILABLE)
        self.retry_after = retry_after


class Expired(Refused):
    """The request ended so long ago that its report is gone; `status` is how it ended."""

    def __init__(self, status: Status) -> None:
        super().__init__(Code.RESULT_EXPIRED)
        self.status = status


class TooLate(Refused):
    """A worker has started the request, or it has ended: it cannot be cancelled any more. `status` is how it stands."""

    def __init__(self, status: StrEnum) -> None:
        super().__init__(Code.TOO_LATE, status.value)
        self.status = status


class NotRetryable(Refused):
    """Only a request that has ended without success can be tried again. `status` is how it stands."""

    def __init__(self, status: StrEnum) -> None:
        super().__init__(Code.NOT_RETRYABLE, status.value)
        self.status = status


class PayloadGone(Refused):
    """The payload of the request is not kept any more: send it again instead."""

    def __init__(self) -> None:
        super().__init__(Code.PAYLOAD_GONE)


async def reaching_redis(call: Awaitable[T]) -> T:
    """The result of a call to Redis; raises `BrokerUnavailable` in place of what redis-py raises."""
    try:
        return await call
    except (RedisError, OSError):
        raise BrokerUnavailable from None
