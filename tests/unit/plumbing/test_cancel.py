import asyncio

from plumbing.cancel import cancel_and_wait


async def _deaf_to_the_first_cancellation() -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await asyncio.Event().wait()


async def _fails() -> None:
    raise LookupError


async def _nothing() -> None:
    pass


def test_every_task_ends_whatever_it_makes_of_a_cancellation() -> None:
    async def end_all() -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(work()) for work in (_deaf_to_the_first_cancellation, _fails, _nothing)]
        await asyncio.sleep(0)
        await cancel_and_wait(tasks)
        return tasks

    tasks = asyncio.run(end_all())

    assert [task.cancelled() for task in tasks] == [True, False, False]
    assert isinstance(tasks[1].exception(), LookupError)


def test_no_task_is_no_wait() -> None:
    asyncio.run(cancel_and_wait([]))
