import asyncio
from collections.abc import Sequence

import pytest

from plumbing.coalesce import Gather

pytestmark = pytest.mark.anyio


class Counter:
    """Doubles numbers, once it is allowed to; refuses what is negative and falls over 13."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self, numbers: Sequence[int]) -> list[int | BaseException]:
        self.groups.append(list(numbers))
        await self.open.wait()
        if 13 in numbers:
            raise ArithmeticError
        return [ValueError(number) if number < 0 else number * 2 for number in numbers]


async def test_what_comes_in_one_turn_of_the_loop_goes_together_and_each_has_its_own_answer() -> None:
    double = Counter()
    gather = Gather(double, most=3)

    assert await asyncio.gather(*map(gather, range(8))) == [0, 2, 4, 6, 8, 10, 12, 14]
    assert double.groups == [[0, 1, 2], [3, 4, 5], [6, 7]]


async def test_what_comes_meanwhile_waits_for_the_next_group_and_a_lone_call_for_nobody() -> None:
    double = Counter()
    double.open.clear()
    gather = Gather(double)
    first = asyncio.create_task(gather(1))
    while not double.groups:
        await asyncio.sleep(0)

    others = [asyncio.create_task(gather(number)) for number in (2, 3)]
    await asyncio.sleep(0)
    assert double.groups == [[1]]
    double.open.set()

    assert await asyncio.gather(first, *others) == [2, 4, 6]
    assert double.groups == [[1], [2, 3]]


async def test_call_that_follows_on_an_answer_at_once_is_not_left_behind() -> None:
    gather = Gather(Counter())

    assert [await gather(number) for number in range(12)] == list(range(0, 24, 2))


async def test_several_groups_are_under_way_at_once() -> None:
    double = Counter()
    double.open.clear()
    gather = Gather(double, most=1, at_once=2)
    calls = [asyncio.create_task(gather(number)) for number in (1, 2, 3)]
    while len(double.groups) < 2:
        await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert double.groups == [[1], [2]]
    double.open.set()
    assert await asyncio.gather(*calls) == [2, 4, 6]


async def test_weight_bounds_a_group_and_the_heaviest_goes_alone() -> None:
    double = Counter()
    gather = Gather(double, most=10, weigh=lambda number: number)

    await asyncio.gather(*map(gather, [4, 4, 4, 50, 1, 1]))

    assert double.groups == [[4, 4], [4], [50], [1, 1]]


async def test_a_refusal_is_its_callers_own_and_a_failure_everybodys() -> None:
    gather = Gather(Counter(), most=2)

    answers = await asyncio.gather(*map(gather, [1, -1, 2, 13]), return_exceptions=True)

    assert answers[0] == 2
    assert [type(answer) for answer in answers[1:]] == [ValueError, ArithmeticError, ArithmeticError]
    assert await gather(5) == 10


async def test_caller_who_gives_up_is_not_waited_for_and_the_others_are_answered() -> None:
    double = Counter()
    double.open.clear()
    gather = Gather(double)
    calls = [asyncio.create_task(gather(number)) for number in (1, 2)]
    while not double.groups:
        await asyncio.sleep(0)
    late = asyncio.create_task(gather(3))
    await asyncio.sleep(0)

    calls[0].cancel()
    late.cancel()
    await asyncio.sleep(0)
    double.open.set()

    assert await calls[1] == 4
    await gather.drain()
    assert double.groups == [[1, 2]]
    assert calls[0].cancelled()
    assert late.cancelled()
