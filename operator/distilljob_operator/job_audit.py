"""Compares what kopf has told about DistillJobs with what the API server says: the watch may be dead and not know it.

kopf renews a silent connection by itself, and keeps its bookmarks to itself, so nothing on our side tells a quiet
cluster from a dead watch. Every few minutes all jobs are listed, names and versions only; a minute later each version
must have come through the watch. That is one small request for 500 jobs.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final, NoReturn

import structlog

from distilljob_core.crd import PLURAL
from distilljob_core.spec.job import API_VERSION
from distilljob_operator.api import Api
from distilljob_operator.errors import ApiError
from distilljob_operator.jobs import JobRecord, Jobs, job_key
from distilljob_operator.store import JobKey

PERIOD_SECONDS: Final = 180.0
GRACE_SECONDS: Final = 60.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Listed:
    """One job as the list shows it."""

    uid: str
    resource_version: int


class JobAudit:
    """Finds out that the watch on DistillJobs is dead, and which deletions it missed."""

    def __init__(
        self,
        api: Api,
        jobs: Jobs,
        delivered: Mapping[JobKey, int],
        on_change: Callable[[JobKey], None],
        *,
        namespaces: Collection[str] = (),
        period_seconds: float = PERIOD_SECONDS,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self._api = api
        self._jobs = jobs
        self._delivered = delivered
        self._on_change = on_change
        self._paths = job_paths(namespaces)
        self._period_seconds = period_seconds
        self._grace_seconds = grace_seconds
        self._problem: str | None = None

    def problem(self) -> str | None:
        """Say what the last comparison found."""
        return self._problem

    async def run(self) -> NoReturn:
        """Compare again and again. An API server that does not answer proves nothing about the watch."""
        while True:
            await asyncio.sleep(self._period_seconds)
            try:
                await self.compare()
            except ApiError as error:
                _log.warning("jobs could not be listed", error=str(error))

    async def compare(self) -> None:
        """Compare once; the verdict is `problem`."""
        before = {record.key: record for record in self._jobs}
        listed = {key: job for path in self._paths for key, job in (await self._list(path)).items()}
        await asyncio.sleep(self._grace_seconds)
        self._problem = self._went_back(before, listed) or self._fell_behind(listed)
        for key in before.keys() - listed.keys():
            if self._jobs.remove(key, before[key].uid):
                self._on_change(key)

    async def _list(self, path: str) -> dict[JobKey, Listed]:
        found = {}
        async for page in self._api.list_pages(path, metadata_only=True):
            for item in page["items"] or ():
                found[job_key(item)] = Listed(item["metadata"]["uid"], int(item["metadata"]["resourceVersion"]))
        return found

    def _fell_behind(self, listed: Mapping[JobKey, Listed]) -> str | None:
        behind = [key for key, job in listed.items() if self._is_behind(key, job)]
        if not behind:
            return None
        namespace, name = behind[0]
        others = f" and {len(behind) - 1} others" if len(behind) > 1 else ""
        return (
            f"the watch on {PLURAL} is dead: the newest version of {namespace}/{name}{others} has not come "
            f"within {self._grace_seconds:.0f} s"
        )

    def _is_behind(self, key: JobKey, job: Listed) -> bool:
        if self._delivered.get(key, 0) >= job.resource_version:
            return False
        return not self._jobs.was_removed(job.uid)

    @staticmethod
    def _went_back(before: Mapping[JobKey, JobRecord], listed: Mapping[JobKey, Listed]) -> str | None:
        """A list is never older than what was known before it, unless the API server was restored from a backup."""
        for key, job in listed.items():
            if key in before and job.resource_version < before[key].resource_version:
                return f"the API server has an older version of {'/'.join(key)} than we have seen: was it restored?"
        return None


def job_paths(namespaces: Collection[str]) -> tuple[str, ...]:
    """Name the collections of DistillJobs that are served."""
    if not namespaces:
        return (f"/apis/{API_VERSION}/{PLURAL}",)
    return tuple(f"/apis/{API_VERSION}/namespaces/{namespace}/{PLURAL}" for namespace in namespaces)


def job_path(key: JobKey) -> str:
    """Name one DistillJob."""
    return f"{job_paths([key[0]])[0]}/{key[1]}"
