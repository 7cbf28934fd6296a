"""Tasks beside the main one: when one ends, so does the work."""

import asyncio

import pytest

from distilljob_operator.background import Background, TaskEnded


async def forever() -> None:
    await asyncio.Future()


async def fail() -> None:
    raise OSError("the disk")


async def nothing() -> None:
    return


async def test_what_is_awaited_comes_to_its_end() -> None:
    async with Background(asyncio.Event()) as background:
        background.run(forever())
        assert await background.during(nothing())


async def test_to_be_stopped_is_no_failure() -> None:
    stop = asyncio.Event()
    async with Background(stop) as background:
        background.run(forever())
        stop.set()
        assert not await background.during(forever())
        await background.until_stopped()


async def test_the_failure_of_a_task_is_the_failure_of_all() -> None:
    async with Background(asyncio.Event()) as background:
        background.run(fail())
        with pytest.raises(OSError, match="the disk"):
            await background.during(forever())


async def test_a_task_that_just_ends_is_a_failure_too() -> None:
    async with Background(asyncio.Event()) as background:
        background.run(nothing())
        with pytest.raises(TaskEnded, match="nothing"):
            await background.until_stopped()


async def test_the_failure_of_what_is_awaited_is_told() -> None:
    async with Background(asyncio.Event()) as background:
        with pytest.raises(OSError, match="the disk"):
            await background.during(fail())


async def test_all_tasks_are_over_at_the_end() -> None:
    ended = asyncio.Event()

    async def clean() -> None:
        try:
            await asyncio.Future()
        finally:
            await asyncio.sleep(0)
            ended.set()

    async with Background(asyncio.Event()) as background:
        background.run(clean())
        await background.during(asyncio.sleep(0))
    assert ended.is_set()
