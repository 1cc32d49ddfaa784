"""Ending background tasks."""

import asyncio
from collections.abc import Collection
from typing import Any, Final

_AGAIN_AFTER_S: Final = 0.05


async def cancel_and_wait(tasks: Collection["asyncio.Task[Any]"]) -> None:
    """Cancel `tasks` until all have ended; what they raise is dropped.

    Once is not enough: before Python 3.12, `asyncio.wait_for` drops a cancellation that comes together with its result,
    and redis-py sends every command through it.
    """
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=_AGAIN_AFTER_S)
    await asyncio.gather(*tasks, return_exceptions=True)
