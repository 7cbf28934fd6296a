"""Liveness and readiness: each answer says what is wrong."""

import asyncio
from collections.abc import Iterator
from itertools import chain, repeat

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Counter

from distilljob_core.errors import DistillJobError
from distilljob_operator import health
from distilljob_operator.health import MAX_LAG_SECONDS, MAX_SILENCE_SECONDS, LoopWatch, silence_check, start_web


async def get(port: int, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as answer:
        return answer.status, await answer.text()


async def test_every_problem_is_told_with_503() -> None:
    problems: list[str | None] = [None, None]
    checks = [lambda: problems[0], lambda: problems[1]]
    runner, port = await start_web(CollectorRegistry(), checks, [lambda: "no lease yet"], "127.0.0.1", 0)
    try:
        assert await get(port, "/livez") == (200, "live\n")
        problems[:] = ["one watch is dead", "another, too"]
        assert await get(port, "/livez") == (503, "one watch is dead\nanother, too\n")
        assert await get(port, "/readyz") == (503, "no lease yet\n")
    finally:
        await runner.cleanup()


async def test_metrics_are_served() -> None:
    registry = CollectorRegistry()
    Counter("demo", "A counter.", registry=registry).inc()
    runner, port = await start_web(registry, [], [], "127.0.0.1", 0)
    try:
        status, text = await get(port, "/metrics")
    finally:
        await runner.cleanup()
    assert status == 200
    assert "demo_total 1.0" in text


async def test_a_taken_port_is_named_with_its_flag() -> None:
    runner, port = await start_web(CollectorRegistry(), [], [], "127.0.0.1", 0)
    try:
        with pytest.raises(DistillJobError, match=f"cannot listen on 127.0.0.1:{port}.*--http-port"):
            await start_web(CollectorRegistry(), [], [], "127.0.0.1", port)
    finally:
        await runner.cleanup()


def ticking(*seconds: float) -> Iterator[float]:
    yield from seconds


@pytest.mark.parametrize(("late_seconds", "is_dead"), [(0.0, False), (MAX_LAG_SECONDS + 5, True)])
async def test_a_loop_that_was_held_up_for_long_is_dead(late_seconds: float, is_dead: bool) -> None:
    times = ticking(100.0, 101.0 + late_seconds, 200.0)
    lags: asyncio.Queue[float] = asyncio.Queue()
    watch = LoopWatch(lambda: next(times), lags.put_nowait)
    assert watch.problem() is None
    running = asyncio.create_task(watch.run())
    assert await lags.get() == late_seconds
    running.cancel()
    assert bool(watch.problem()) == is_dead


async def test_a_loop_that_has_recovered_lives_before_anybody_gives_it_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_TICK_SECONDS", 0.0)
    times = chain((0.0, 11.0), repeat(20.0))
    lags: asyncio.Queue[float] = asyncio.Queue()
    watch = LoopWatch(lambda: next(times), lags.put_nowait)
    running = asyncio.create_task(watch.run())
    assert await lags.get() == 11.0
    assert watch.problem() == "a task was kept waiting for 11 s just now"
    for _ in range(15):
        assert await lags.get() == 11.0, "the metric tells of a whole minute"
    assert watch.problem() is None
    running.cancel()


class Seen:
    last_seen_seconds = 1_000.0


@pytest.mark.parametrize(
    ("silent_seconds", "problem"),
    [(MAX_SILENCE_SECONDS, None), (200.0, "the watch on pods has shown no sign of life for 200 s")],
)
def test_a_watch_without_a_sign_of_life_is_dead(silent_seconds: float, problem: str | None) -> None:
    check = silence_check("pods", Seen(), lambda: Seen.last_seen_seconds + silent_seconds)
    assert check() == problem
