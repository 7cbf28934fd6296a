"""The floor: a bare client that creates the very same objects, with no operator anywhere."""

import json
from collections.abc import Awaitable, Callable, Sequence

from bench_operator import groups, jobset
from bench_operator.client import Client, make_namespaces
from bench_operator.costs import Audit
from bench_operator.load import Batch, Body, Result, bring_up, post_all
from bench_operator.options import Options
from bench_operator.plane import PODS_PER_GROUP, Plane
from bench_operator.world import Reading, World

MakeBatch = Callable[[Client, Sequence[str], Sequence[str]], Awaitable[Batch]]
"""Writes down all children of the groups of these names, spread over these namespaces."""


async def of_distilljobs(plane: Plane, options: Options) -> Result:
    """Measure the floor of our operator."""
    return await _run(plane, options, groups.READING, _distilljob_children)


async def of_jobsets(plane: Plane, options: Options) -> Result:
    """Measure the floor of JobSet."""
    return await _run(plane, options, jobset.READING, _jobset_children)


async def _run(plane: Plane, options: Options, reading: Reading, make_batch: MakeBatch) -> Result:
    """Make single groups' children, then those of all groups at once."""
    async with Client(plane) as client:
        world = World(client, reading)
        await world.start()
        namespaces = await make_namespaces(client, options.num_namespaces)
        audit = Audit(plane.audit_log)

        async def measured(names: Sequence[str]) -> Result:
            batch = await make_batch(client, names, namespaces)
            return await bring_up(client, world, audit, batch, pid=None, limit_seconds=options.limit_seconds)

        singles = [await measured([f"single-{number}"]) for number in range(options.singles)]
        all_at_once = await measured([f"job-{number}" for number in range(options.jobs)])
        await world.stop()
        return {
            "single_running_seconds": [single["running_seconds"] for single in singles],
            "at_once": all_at_once,
            "watch_reconnects": world.num_reconnects,
        }


async def _distilljob_children(client: Client, names: Sequence[str], namespaces: Sequence[str]) -> Batch:
    """Make the owners too, which nobody acts on: without them the children would be collected."""
    posted = await post_all(client, groups.bodies(names, namespaces))
    children = [child for _, answer in posted for child in groups.children(json.loads(answer))]
    bodies = [(groups.collection(child), json.dumps(child).encode()) for child in children]
    return Batch(bodies, names, len(bodies), len(names) * groups.PODS_PER_JOB)


async def _jobset_children(_: Client, names: Sequence[str], namespaces: Sequence[str]) -> Batch:
    bodies: list[Body] = []
    for number, name in enumerate(names):
        namespace = namespaces[number % len(namespaces)]
        bodies += [(path, json.dumps(child).encode()) for path, child in jobset.children(name, namespace)]
    num = len(names) * PODS_PER_GROUP
    return Batch(bodies, names, num, num)
