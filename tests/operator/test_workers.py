"""Workers: one job's failure is its own, and what was begun is finished."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog

from distilljob_operator.backoff import Backoff
from distilljob_operator.errors import TooManyRequests
from distilljob_operator.metrics import OperatorMetrics
from distilljob_operator.store import JobKey
from distilljob_operator.workers import Workers
from distilljob_operator.workqueue import WorkQueue

LIMIT_SECONDS = 60.0


class Job:
    """Does what the test wants when a job is worked on."""

    def __init__(self, work: Callable[[JobKey], Awaitable[None]]) -> None:
        self.reconcile = work


class Rig:
    def __init__(self, work: Callable[[JobKey], Awaitable[None]], num_workers: int) -> None:
        self.queue: WorkQueue[JobKey] = WorkQueue(time.monotonic, Backoff(0.001, 0.001))
        self.metrics = OperatorMetrics()
        self.workers = Workers(self.queue, Job(work), self.metrics, num_workers)

    def results(self) -> dict[str, float]:
        read = self.metrics.registry.get_sample_value
        return {
            result: read("distilljob_operator_reconciles_total", {"result": result})
            for result in ("done", "put_off", "failed")
        }


@asynccontextmanager
async def working(work: Callable[[JobKey], Awaitable[None]], num_workers: int = 2) -> AsyncIterator[Rig]:
    rig = Rig(work, num_workers)
    running = asyncio.create_task(rig.workers.run())
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            yield rig
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_refused_job_is_tried_again_after_the_servers_wish() -> None:
    times: list[float] = []
    done = asyncio.Event()

    async def work(_: JobKey) -> None:
        times.append(time.monotonic())
        if len(times) == 1:
            raise TooManyRequests(429, "TooManyRequests", "busy", retry_after_seconds=0.3)
        done.set()

    async with working(work) as rig:
        rig.queue.add(("a", "b"))
        await done.wait()
        await rig.workers.stop(LIMIT_SECONDS)
    assert times[1] - times[0] >= 0.3
    assert rig.results() == {"done": 1, "put_off": 1, "failed": 0}


async def test_a_mistake_about_one_job_leaves_the_others_alone() -> None:
    worked: set[JobKey] = set()
    both = asyncio.Event()

    async def work(key: JobKey) -> None:
        if key == ("a", "bad"):
            raise ZeroDivisionError
        worked.add(key)
        if len(worked) == 2:
            both.set()

    with structlog.testing.capture_logs() as lines:
        async with working(work, num_workers=1) as rig:
            for name in ("bad", "good", "better"):
                rig.queue.add(("a", name))
            await both.wait()
    assert rig.results()["failed"] >= 1
    failures = [line for line in lines if line["event"] == "failed"]
    assert failures[0]["exc_info"]


async def test_every_line_of_a_job_names_it() -> None:
    seen = asyncio.Queue[object]()

    async def work(_: JobKey) -> None:
        seen.put_nowait(structlog.contextvars.get_contextvars())

    async with working(work) as rig:
        rig.queue.add(("team", "digits"))
        assert await seen.get() == {"job": "team/digits"}


async def test_what_was_begun_is_finished_and_nothing_new_begins() -> None:
    begun, gate = asyncio.Event(), asyncio.Event()
    worked: list[JobKey] = []

    async def work(key: JobKey) -> None:
        begun.set()
        await gate.wait()
        worked.append(key)

    async with working(work, num_workers=1) as rig:
        rig.queue.add(("a", "first"))
        await begun.wait()
        rig.queue.add(("a", "second"))
        stopping = asyncio.create_task(rig.workers.stop(LIMIT_SECONDS))
        await asyncio.sleep(0)
        assert not stopping.done()
        gate.set()
        await stopping
    assert worked == [("a", "first")]


async def test_stopping_does_not_wait_for_ever() -> None:
    begun = asyncio.Event()

    async def work(_: JobKey) -> None:
        begun.set()
        await asyncio.Future()

    with structlog.testing.capture_logs() as lines:
        async with working(work) as rig:
            rig.queue.add(("a", "b"))
            await begun.wait()
            await rig.workers.stop(0.01)
    assert lines == [{"event": "jobs are left in mid-work", "jobs": 1, "log_level": "warning"}]
