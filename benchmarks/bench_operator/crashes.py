"""Pods that crash, and how long it takes until their replacement is there; the clock starts at phase Failed."""

import asyncio
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

from bench_operator.client import Client
from bench_operator.world import Attempt, Member, World

Result = dict[str, Any]
LIMIT_SECONDS = 300.0
"""What has not been replaced by then counts as lost."""


class Crasher:
    """Ends pods with code 1, and keeps count of it."""

    def __init__(self, client: Client, world: World) -> None:
        self._client = client
        self.world = world
        self.injected: Counter[Member] = Counter()
        """Failures of ours, crashes and hangs."""
        self.num_lost = 0

    async def crash(self, attempts: Sequence[Attempt], gap_seconds: float = 0.0) -> None:
        """End the pods of these attempts, one after another or all at once."""
        calls = []
        for number, attempt in enumerate(attempts):
            self.injected[attempt.member] += 1
            calls.append(asyncio.create_task(self._end(attempt)))
            if gap_seconds and number < len(attempts) - 1:
                await asyncio.sleep(gap_seconds)
        await asyncio.gather(*calls)

    async def _end(self, attempt: Attempt) -> None:
        pod = self.world.pods[attempt.member]
        change = {"metadata": {"annotations": {"rig/exit-code": "1"}}}
        await self._client.patch(f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}", change)

    async def until_replaced(self, attempts: Sequence[Attempt], limit_seconds: float = LIMIT_SECONDS) -> Result:
        """Wait until all replacements run; seconds from the failure to the Job, and to its running pod."""
        world = self.world
        after = [attempt.next for attempt in attempts]
        await world.until(lambda: all(attempt in world.running_seconds for attempt in after), limit_seconds)
        replaced = [attempt for attempt in attempts if attempt.next in world.running_seconds]
        self.num_lost += len(attempts) - len(replaced)
        seen = [attempt for attempt in replaced if attempt in world.failed_seconds]
        jobs = [world.job_seconds[attempt.next] - world.failed_seconds[attempt] for attempt in seen]
        pods = [world.running_seconds[attempt.next] - world.failed_seconds[attempt] for attempt in seen]
        lost = [attempt for attempt in attempts if attempt not in replaced]
        told: Result = {"lost": [f"{one.member} {one.number}" for one in lost]} if lost else {}
        return {"crashes": len(attempts), "to_job": spread(jobs), "to_running": spread(pods), **told}

    async def measure(self, attempts: Sequence[Attempt], gap_seconds: float = 0.0) -> Result:
        """Crash, and wait for the replacements."""
        await self.crash(attempts, gap_seconds)
        return await self.until_replaced(attempts)


def one_of_each_group(attempts: Sequence[Attempt], num: int, turn: int = 0) -> list[Attempt]:
    """Choose attempts of as many groups as possible, another member of each at each turn."""
    groups: dict[tuple[str, str], list[Attempt]] = {}
    for attempt in attempts:
        groups.setdefault(attempt.member[:2], []).append(attempt)
    chosen: list[Attempt] = []
    for member in range(max(map(len, groups.values()), default=0)):
        chosen += [found[(turn + member) % len(found)] for found in groups.values() if member < len(found)]
    return chosen[:num]


def spread(values: Sequence[float]) -> Result | None:
    """Give median, 99th percentile, least and greatest."""
    if not values:
        return None
    ordered = sorted(values)
    return {
        "p50": round(statistics.median(ordered), 3),
        "p99": round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], 3),
        "min": round(ordered[0], 3),
        "max": round(ordered[-1], 3),
    }
