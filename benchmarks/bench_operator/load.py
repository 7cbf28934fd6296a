"""Many groups at once, whoever makes their children: when everything is there, and what that costs."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench_operator.client import CONCURRENCY, Client, at_once
from bench_operator.costs import Audit, children_cpu_seconds, load, per_group, usage, yardstick_ms
from bench_operator.world import World

Result = dict[str, Any]
Body = tuple[str, bytes]
"""Path of a collection, and what to post there."""


@dataclass(frozen=True)
class Batch:
    """What is posted, and what must come of it."""

    bodies: Sequence[Body]
    names: Sequence[str]
    """Of the groups."""
    num_children: int
    num_pods: int


async def post_all(client: Client, bodies: Sequence[Body]) -> list[tuple[float, bytes]]:
    """Post everything at full concurrency; when each answer came, and the answer."""
    return await at_once([lambda path=path, body=body: client.post(path, body) for path, body in bodies], CONCURRENCY)


async def bring_up(
    client: Client, world: World, audit: Audit, batch: Batch, *, pid: int | None, limit_seconds: float
) -> Result:
    """Post a batch and wait for all its children and pods.

    Args:
        client: posts.
        world: watches.
        audit: counts requests.
        batch: what is posted.
        pid: of the contestant; None where that is this very process.
        limit_seconds: patience.
    """
    audit.since_last()
    load_before, before, all_before = load(), usage(pid) if pid else None, children_cpu_seconds()
    tally, groups = world.tally(batch.names), len(batch.names)
    begun_seconds = time.monotonic()
    posted = await post_all(client, batch.bodies)
    is_complete = await world.until(
        lambda: len(tally.created) >= batch.num_children and len(tally.running) >= batch.num_pods, limit_seconds
    )
    result: Result = {
        "groups": groups,
        "complete": is_complete,
        "children": len(tally.created),
        "pods": len(tally.running),
        "posted_seconds": round(max(seconds for seconds, _ in posted) - begun_seconds, 2),
        "children_seconds": _after(tally.created, batch.num_children, begun_seconds),
        "half_running_seconds": _after(tally.running, batch.num_pods // 2, begun_seconds),
        "running_seconds": _after(tally.running, batch.num_pods, begun_seconds),
        "load": [load_before, load()],
        "yardstick_ms": yardstick_ms(),
        "plane_cpu_seconds": _rounded(children_cpu_seconds() - all_before),
    }
    if pid and before:
        after = usage(pid)
        cpu_seconds = after.cpu_seconds - before.cpu_seconds
        result |= {
            "cpu_ms_per_group": round(1000 * cpu_seconds / groups, 1),
            "rss_before_mib": round(before.rss_mib),
            "rss_mib": round(after.rss_mib),
            "peak_mib": round(after.peak_mib),
            "requests_per_group": per_group(audit.since_last(), groups),
        }
    return result


def _after(moments: Sequence[float], number: int, begun_seconds: float) -> float | None:
    return round(moments[number - 1] - begun_seconds, 3) if len(moments) >= number else None


def _rounded(cpu_seconds: dict[str, float]) -> dict[str, float]:
    return {name: round(seconds, 1) for name, seconds in sorted(cpu_seconds.items()) if seconds >= 0.1}
