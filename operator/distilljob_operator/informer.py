"""A live picture of one kind of object: listed once, watched from there, never given up."""

import asyncio
import math
from collections.abc import Callable, Collection
from typing import Any, Final, Generic, NoReturn, TypeVar

import structlog

from distilljob_operator.api import Api, Json
from distilljob_operator.backoff import Backoff
from distilljob_operator.errors import ApiError, Gone
from distilljob_operator.store import JobKey, Store

T = TypeVar("T")

GAP_SECONDS: Final = 30.0
"""Nothing seen for longer than this is a blind spell."""
RECONNECT: Final = Backoff(first_seconds=0.5, most_seconds=8.0)

_log = structlog.get_logger()


class Informer(Generic[T]):
    """All objects of one kind, in one namespace or in all, by the job in their label.

    Args:
        api: the API server.
        path: of the collection.
        project: reduces an object to what is needed; None where it is none of ours. Two equal values are no change.
        on_change: called with the job of every object that came, changed or went.
        clock: tells the time in seconds; must never go back.
        selector: labels, as the API server reads them.
        metadata_only: leave spec and status at the server.

    Attributes:
        synced: set when the first list is complete.
        last_seen_seconds: when the server last showed that it is there: a list, an event, a bookmark.
        watching_since_seconds: end of the last blind spell; infinite until the first watch.
    """

    def __init__(
        self,
        api: Api,
        path: str,
        project: Callable[[Json], T | None],
        on_change: Callable[[JobKey], None],
        *,
        clock: Callable[[], float],
        selector: str = "",
        metadata_only: bool = False,
        backoff: Backoff = RECONNECT,
    ) -> None:
        self._api = api
        self._path = path
        self._what: dict[str, Any] = {"selector": selector, "metadata_only": metadata_only}
        self._on_change = on_change
        self._clock = clock
        self._backoff = backoff
        self._store: Store[T] = Store(project)
        self._version: str | None = None
        """Where the watch goes on; None when a list is due."""
        self._failures = 0
        """Rounds in a row that brought nothing."""
        self._blind_since_seconds: float | None = -math.inf
        self.synced = asyncio.Event()
        self.last_seen_seconds = clock()
        self.watching_since_seconds = math.inf

    def __len__(self) -> int:
        return len(self._store)

    def of(self, namespace: str, job: str) -> Collection[T]:
        """Give what is known of one job's objects."""
        return self._store.of((namespace, job))

    def absorb(self, body: Json) -> None:
        """Take in the answer to a write of our own, so that it is seen before the watch brings it."""
        self._tell(self._store.absorb(body))

    async def run(self) -> NoReturn:
        """List, watch, go on where the watch ended; list again when the server has forgotten that place."""
        while True:
            failure: ApiError | None = None
            blind_since_seconds = self._blind_since_seconds
            self._failures += 1
            try:
                if self._version is None:
                    self._version = await self._list()
                await self._follow(self._version)
            except Gone:
                self._version = None
                self._failures = max(1, self._failures)
                self._blind_since_seconds = blind_since_seconds
            except ApiError as error:
                failure = error
                _log.warning("watch interrupted", path=self._path, error=str(error), failures=self._failures)
            self._is_blind(failure)
            pause_seconds = self._backoff.pause_seconds(self._failures)
            wish_seconds = failure.retry_after_seconds if failure else None
            await asyncio.sleep(pause_seconds + (wish_seconds or 0.0))

    async def _list(self) -> str:
        self._store.begin_list()
        version = ""
        async for page in self._api.list_pages(self._path, **self._what):
            self.last_seen_seconds = self._clock()
            version = page["metadata"]["resourceVersion"]
            self._tell(self._store.page(page["items"] or (), int(version)))  # an empty list of metadata is null
        self._tell(self._store.end_list())
        self.synced.set()
        return version

    async def _follow(self, version: str) -> None:
        async with self._api.watch(self._path, version, **self._what) as events:
            self._sees_again()
            # A server restored from a backup is silent until it has reached that version again: then only a list helps.
            self._version = None
            async for event in events:
                self._failures = 0
                self.last_seen_seconds = self._clock()
                self._take(event["type"], event["object"])
                self._version = event["object"]["metadata"]["resourceVersion"]

    def _take(self, kind: str, body: Json) -> None:
        if kind == "DELETED":
            self._tell(self._store.remove(body))
        elif kind != "BOOKMARK":
            self._tell(self._store.put(body))

    def _tell(self, jobs: set[JobKey]) -> None:
        for job in jobs:
            self._on_change(job)

    def _sees_again(self) -> None:
        now_seconds = self.last_seen_seconds = self._clock()
        if self._blind_since_seconds is not None and now_seconds - self._blind_since_seconds > GAP_SECONDS:
            self.watching_since_seconds = now_seconds
        self._blind_since_seconds = None

    def _is_blind(self, failure: ApiError | None) -> None:
        """A watch that ended well saw until now; of a broken one nobody knows since when it brought nothing."""
        if self._blind_since_seconds is None:
            self._blind_since_seconds = self.last_seen_seconds if failure else self._clock()
