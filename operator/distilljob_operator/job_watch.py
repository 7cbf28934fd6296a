"""kopf, cut down to one thing: it watches DistillJobs, and tells what it sees.

kopf keeps state on the objects it handles: annotations for its handlers, finalizers for timers, daemons and deletions,
events for its log. With `on.event` alone it needs none of that. The storages below make sure that it has no place to
write to; scanning and peering are off, so that reading DistillJobs is all it asks of RBAC.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final

import kopf

from distilljob_core.crd import PLURAL
from distilljob_core.errors import DistillJobError
from distilljob_core.spec.job import API_VERSION
from distilljob_operator.jobs import Jobs, job_key
from distilljob_operator.store import JobKey

_GROUP, _, _VERSION = API_VERSION.partition("/")
_REQUEST_TIMEOUT_SECONDS: Final = 30.0
_RETRY_SECONDS: Final = (1, 1, 2, 3, 5, 8, 13, 21, 30, 30, 30, 30, 30)
"""kopf retries a failing list for a few minutes; then the process ends and starts over."""


class WatchEnded(DistillJobError):
    """kopf does not watch any more; nothing but a new process helps."""


class JobWatch:
    """Feeds jobs and wakes whoever reconciles them."""

    def __init__(
        self,
        jobs: Jobs,
        on_change: Callable[[JobKey], None],
        login: Callable[[], Awaitable[kopf.ConnectionInfo]],
        namespaces: Collection[str] = (),
    ) -> None:
        self.delivered: dict[JobKey, int] = {}
        """The newest resourceVersion of each job that came through the watch itself."""
        self._jobs = jobs
        self._on_change = on_change
        self._login = login
        self._namespaces = namespaces
        self._tasks: Collection[asyncio.Task[Any]] = ()

    async def start(self) -> None:
        """Start to watch. kopf takes over SIGTERM and SIGINT here: whoever wants them sets them again afterwards."""
        # No kopf.run_tasks: at its end it cancels every task of the loop that it does not know, ours included.
        self._tasks = await kopf.spawn_tasks(
            registry=self._registry(),
            settings=_settings(),
            standalone=True,
            clusterwide=not self._namespaces,
            namespaces=list(self._namespaces),
        )

    async def run(self) -> None:
        """Wait for as long as kopf watches.

        Raises:
            WatchEnded: one of its tasks ended; kopf has logged why.
        """
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        causes = [task.exception() for task in done if not task.cancelled()]
        raise WatchEnded("kopf stopped watching DistillJobs") from next(filter(None, causes), None)

    async def stop(self) -> None:
        """End kopf's tasks."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        async def login(**_: Any) -> kopf.ConnectionInfo:
            return await self._login()

        async def on_event(event: Any, **_: Any) -> None:
            self._take(event["type"], event["object"])

        kopf.on.login(registry=registry)(login)
        kopf.on.event(_GROUP, _VERSION, PLURAL, registry=registry)(on_event)
        return registry

    def _take(self, event_type: str | None, body: dict[str, Any]) -> None:
        key = job_key(body)
        version = int(body["metadata"]["resourceVersion"])
        if event_type == "DELETED":
            self._jobs.remove(key, body["metadata"]["uid"])
            if self.delivered.get(key, 0) <= version:
                self.delivered.pop(key, None)
            self._on_change(key)
            return
        self.delivered[key] = max(version, self.delivered.get(key, 0))
        if self._jobs.update(body):  # else it is the echo of our own status write
            self._on_change(key)


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.process.ultimate_exiting_timeout = None
    settings.networking.request_timeout = _REQUEST_TIMEOUT_SECONDS
    settings.networking.error_backoffs = _RETRY_SECONDS
    settings.execution.default_backoff = 5
    settings.watching.chunk_size = 500
    settings.persistence.diffbase_storage = _NoDiffs()
    settings.persistence.progress_storage = _NoProgress()
    return settings


class _NoDiffs(kopf.DiffBaseStorage):
    """Compares nothing; kopf would copy each object in full at each event."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        raise AssertionError("kopf has no handler whose diffs it could store")


class _NoProgress(kopf.ProgressStorage):
    """Remembers nothing."""

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        raise AssertionError("kopf has no handler whose progress it could store")

    def purge(self, **_: Any) -> None:
        raise AssertionError("kopf has no handler whose progress it could purge")

    def touch(self, **_: Any) -> None:
        raise AssertionError("kopf has no handler to wait for")

    def clear(self, *, essence: Any) -> Any:
        return essence
