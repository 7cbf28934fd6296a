"""DistillJobs by name."""

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

from distilljob.cluster.access import Cluster
from distilljob.cluster.known import job_state, read_status
from distilljob.cluster.refusal import NEWER_CRD, no_kind, no_namespace
from distilljob.errors import BadInput, NotFound
from distilljob_core.lifecycle.model import JobState
from distilljob_core.spec.base import NAME_PATTERN
from distilljob_core.spec.job import DistillJob
from distilljob_core.spec.load import check_job
from distilljob_core.spec.problems import SpecProblems
from distilljob_core.status import DistillJobStatus
from distilljob_operator import errors

MOST_NAMES: Final = 8


@dataclass(frozen=True, slots=True)
class Known:
    """One DistillJob as the API server gave it."""

    body: Mapping[str, Any]
    job: DistillJob
    status: DistillJobStatus
    state: JobState

    @property
    def name(self) -> str:
        """Its name."""
        return self.job.metadata.name

    @property
    def uid(self) -> str:
        """Which incarnation of that name."""
        return self.job.metadata.uid

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it can change any more."""
        return self.state.outcome is not None


def read_known(body: Mapping[str, Any]) -> Known:
    """Read a DistillJob.

    Raises:
        BadInput: it says what this version does not know.
    """
    try:
        job = check_job({key: value for key, value in body.items() if key != "status"})
    except SpecProblems as error:
        name = body["metadata"]["name"]
        raise BadInput(f"{name} cannot be read by this distilljob ({NEWER_CRD})", error.problems) from None
    status = read_status(body)
    return Known(body, job, status, job_state(job, status))


async def fetch(cluster: Cluster, name: str) -> dict[str, Any]:
    """Get a job.

    Raises:
        NotFound: there is none of that name; the text has the names that come close.
        BadInput: no job can have this name.
        ApiError: the API server refused or failed.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise BadInput(f"{name} is no name of a job: those are lower-case letters, digits and '-'")
    try:
        return await cluster.api.get(f"{cluster.jobs}/{name}")
    except errors.NotFound:
        bodies = [body async for body in list_jobs(cluster)]
    raise _no_job(cluster.namespace, name, [body["metadata"]["name"] for body in bodies])


def find(cluster: Cluster, name: str) -> Known:
    """Get a job and read it.

    Raises:
        NotFound: there is none of that name.
        BadInput: it says what this version does not know.
        CommandError: the API server refused or failed.
    """
    return read_known(cluster.run(fetch(cluster, name)))


async def list_jobs(cluster: Cluster) -> AsyncIterator[dict[str, Any]]:
    """Give all jobs of the namespace.

    Raises:
        NotFound: there is no such namespace, or no DistillJobs in this cluster.
    """
    is_empty = True
    try:
        async for page in cluster.api.list_pages(cluster.jobs):
            for body in page["items"]:
                is_empty = False
                yield body
    except errors.NotFound:
        raise no_kind() from None
    if is_empty:
        await _check_namespace(cluster)


async def _check_namespace(cluster: Cluster) -> None:
    """Lists of a namespace that does not exist are empty; who may not look at namespaces is told nothing."""
    try:
        await cluster.api.get(f"/api/v1/namespaces/{cluster.namespace}")
    except errors.NotFound:
        raise no_namespace(cluster.namespace) from None
    except errors.Forbidden:
        return


def _no_job(namespace: str, name: str, known: list[str]) -> NotFound:
    close = get_close_matches(name, known, n=3) or sorted(known)[:MOST_NAMES]
    there = f"; there {'is' if len(close) == 1 else 'are'} {', '.join(close)}" if close else "; it has none"
    more = " and others" if len(close) == MOST_NAMES < len(known) else ""
    hint = f". A run on this machine is named by its folder: ./{name}"
    return NotFound(f"the namespace {namespace} has no job {name}{there}{more}{hint}")
