"""Try again what a server that is away for a moment has failed."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def retrying(call: Callable[[], Awaitable[T]], *, on: Callable[[Exception], bool], for_s: float) -> T:
    """What ``call()`` returns, called again while `on` says so of its error, with growing pauses of at most a second.

    The first call is outside the bookkeeping of retries, which costs more than many a call.

    Raises:
        Exception: the last error, once `for_s` seconds are over or `on` says no.
    """
    try:
        return await call()
    except Exception as error:
        if not on(error):
            raise
    import stamina  # noqa: PLC0415 - it loads Tornado, where Flower is, and most processes never try again

    async for attempt in stamina.retry_context(
        on=on, attempts=None, timeout=for_s, wait_initial=0.02, wait_max=1.0, wait_jitter=0.1
    ):
        with attempt:
            return await call()
    raise AssertionError  # stamina raises the last error instead of running out
