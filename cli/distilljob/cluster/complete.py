"""Names for the shell's completion: quick, or none; whatever is wrong is told when the command runs."""

import asyncio
from typing import Final

from distilljob.cluster.access import Cluster, reach
from distilljob.cluster.jobs import fetch, list_jobs, read_known
from distilljob.cluster.place import Place
from distilljob.errors import CommandError
from distilljob_core.names import AGGREGATOR
from distilljob_core.spec.resolve import student_names

PATIENCE_SECONDS: Final = 2.0


def job_names(place: Place) -> list[str]:
    """Name the jobs of a namespace."""
    try:
        with reach(place) as cluster:
            return cluster.run(_job_names(cluster))
    except (CommandError, TimeoutError):
        return []


def process_names(job: str, place: Place) -> list[str]:
    """Name the students of a job, and its aggregator."""
    try:
        with reach(place) as cluster:
            return cluster.run(_process_names(cluster, job))
    except (CommandError, TimeoutError):
        return []


async def _job_names(cluster: Cluster) -> list[str]:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return [body["metadata"]["name"] async for body in list_jobs(cluster)]


async def _process_names(cluster: Cluster, job: str) -> list[str]:
    async with asyncio.timeout(PATIENCE_SECONDS):
        known = read_known(await fetch(cluster, job))
    return [*student_names(known.job.spec), AGGREGATOR]
