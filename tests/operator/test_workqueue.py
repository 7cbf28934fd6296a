"""The work queue on an event loop whose time passes when everybody waits."""

import asyncio
import random
import selectors
from collections.abc import Awaitable, Callable

import pytest

from distilljob_operator.backoff import Backoff
from distilljob_operator.workqueue import WorkQueue


class LeapingLoop(asyncio.SelectorEventLoop):
    """Instead of waiting for a timer, it sets its clock to it."""

    def __init__(self) -> None:
        self.now_seconds = 0.0
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self.now_seconds


class _Selector(selectors.SelectSelector):
    loop: LeapingLoop

    def __init__(self, loop: LeapingLoop) -> None:
        super().__init__()
        self.loop = loop

    def select(self, timeout: float | None = None) -> list:
        assert timeout is not None, "everybody waits, and nothing will ever happen"
        self.loop.now_seconds += max(0.0, timeout)
        return super().select(0)


def leap(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    def run() -> None:
        with asyncio.Runner(loop_factory=LeapingLoop) as runner:
            runner.run(test())

    run.__name__ = test.__name__
    return run


def now_seconds() -> float:
    return asyncio.get_running_loop().time()


def make_queue() -> WorkQueue[str]:
    return WorkQueue(now_seconds, Backoff(1.0, 60.0, random.Random(7)))


@leap
async def test_a_waiting_worker_gets_what_is_added():
    queue = make_queue()
    worker = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    assert await worker == "a"


@leap
async def test_a_key_added_many_times_is_worked_on_once():
    queue = make_queue()
    for _ in range(3):
        queue.add("a")
    queue.add("b")
    assert queue.depth == 2
    assert [await queue.get(), await queue.get()] == ["a", "b"]
    assert queue.depth == 0


@leap
async def test_an_event_during_work_brings_the_key_back_after_it():
    queue = make_queue()
    queue.add("a")
    await queue.get()
    queue.add("a")
    queue.add("b")
    assert await queue.get() == "b"
    assert queue.depth == 0
    queue.done("a")
    assert await queue.get() == "a"


@leap
async def test_a_key_comes_at_its_time():
    queue = make_queue()
    queue.add_at("late", 500.0)
    queue.add_at("early", 100.0)
    assert await queue.get() == "early"
    assert now_seconds() == pytest.approx(100.0)
    assert await queue.get() == "late"
    assert now_seconds() == pytest.approx(500.0)


@leap
async def test_pauses_of_a_failing_key_double_and_stop_growing_and_a_success_ends_them():
    queue = make_queue()
    queue.add("a")
    pauses_seconds = []
    for _ in range(10):
        await queue.get()
        failed_seconds = now_seconds()
        queue.retry("a")
        queue.done("a")
        await queue.get()
        pauses_seconds.append(now_seconds() - failed_seconds)
        queue.add("a")
        queue.done("a")
    for failures, pause_seconds in enumerate(pauses_seconds):
        longest_seconds = min(60.0, 2.0**failures)
        assert longest_seconds / 2 <= pause_seconds <= longest_seconds
    await queue.get()
    queue.forget("a")
    failed_seconds = now_seconds()
    queue.retry("a")
    queue.done("a")
    await queue.get()
    assert now_seconds() - failed_seconds <= 1.0


@leap
async def test_an_event_shortens_a_pause_but_not_the_wish_of_the_server():
    queue = make_queue()
    queue.add("a")
    await queue.get()
    queue.retry("a")
    queue.add("a")
    queue.done("a")
    assert await queue.get() == "a"
    assert now_seconds() == 0.0
    queue.retry("a", 30.0)
    queue.add("a")
    queue.done("a")
    queue.add("a")
    queue.add("b")
    assert await queue.get() == "b"
    assert await queue.get() == "a"
    assert 31.0 <= now_seconds() <= 32.0


@leap
async def test_a_worker_that_is_told_to_stop_loses_no_key():
    queue = make_queue()
    worker = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    worker.cancel()
    queue.add("a")
    with pytest.raises(asyncio.CancelledError):
        await worker
    assert await queue.get() == "a"


@leap
async def test_random_work_by_many_workers_never_doubles_a_key_and_loses_nothing():
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    queue = make_queue()
    working: set[str] = set()
    wanted: dict[str, int] = {}
    done: dict[str, int] = {}

    async def work() -> None:
        while True:
            key = await queue.get()
            assert key not in working
            working.add(key)
            seen = wanted[key]
            await asyncio.sleep(rng.random())
            if rng.random() < 0.2:
                queue.retry(key, rng.choice((None, 3.0)))
            else:
                queue.forget(key)
                done[key] = seen
            working.remove(key)
            queue.done(key)

    workers = [asyncio.create_task(work()) for _ in range(4)]
    for _ in range(2_000):
        key = rng.choice("abcdefgh")
        wanted[key] = wanted.get(key, 0) + 1
        queue.add_at(key, now_seconds() + rng.choice((0.0, 0.0, rng.random() * 5)))
        await asyncio.sleep(rng.random() / 10)
    while done != wanted:
        await asyncio.sleep(1.0)
        assert now_seconds() < 5_000, "some change was never worked on"
    for worker in workers:
        assert not worker.done()
        worker.cancel()
