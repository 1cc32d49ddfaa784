"""Calls that come at about the same time, made together: one round trip, one transaction for all of them.

Nobody waits for company. A call that comes alone goes alone at once; those that come while it is under way go together
next. So groups grow with the load and cost nothing without it.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def _one(_: object) -> int:
    return 1


class Gather(Generic[T, R]):
    """``await gather(call)`` gives the answer to `call`, or raises what became of it. Used from one event loop.

    Args:
        together: makes the calls and returns an answer for each, in their order; an exception among the answers is
            raised to its caller alone, one that `together` raises to all of them.
        most: the weight of one group; a call that weighs more goes alone.
        at_once: how many groups may be under way.
        weigh: the weight of a call; 1 by default.
    """

    def __init__(
        self,
        together: Callable[[Sequence[T]], Awaitable[Sequence[R | BaseException]]],
        *,
        most: int = 64,
        at_once: int = 1,
        weigh: Callable[[T], int] = _one,
    ) -> None:
        self._together = together
        self._most = most
        self._at_once = at_once
        self._weigh = weigh
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._groups = 0
        self._running: set[asyncio.Task[None]] = set()

    async def __call__(self, call: T) -> R:
        """Make `call` with the others; a caller who gives up meanwhile takes nothing back that is under way."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._waiting.append((call, future))
        if self._groups < self._at_once:
            # It begins at the loop's next turn, with all that this turn brings.
            self._groups += 1
            running = loop.create_task(self._run())
            self._running.add(running)
            running.add_done_callback(self._running.discard)
        return await future

    async def drain(self) -> None:
        """Wait until nothing is under way."""
        while self._running:
            await asyncio.wait(self._running)

    async def _run(self) -> None:
        try:
            # Between the look that finds nothing waiting and the count nothing else runs, so no call is left behind.
            while group := self._next():
                await self._answer(group)
        finally:
            self._groups -= 1

    async def _answer(self, group: Sequence[tuple[T, "asyncio.Future[R]"]]) -> None:
        try:
            answers = await self._together([call for call, _ in group])
        except Exception as error:  # noqa: BLE001 - each of the callers has to know
            answers = [error] * len(group)
        except BaseException:
            for _, future in group:
                future.cancel()
            raise
        for (_, future), answer in zip(group, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, BaseException):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    def _next(self) -> list[tuple[T, "asyncio.Future[R]"]]:
        group: list[tuple[T, asyncio.Future[R]]] = []
        room = self._most
        while self._waiting:
            call, future = self._waiting[0]
            if future.done():  # its caller has given up
                self._waiting.popleft()
                continue
            room -= self._weigh(call)
            if group and room < 0:
                break
            group.append((call, future))
            self._waiting.popleft()
        return group
