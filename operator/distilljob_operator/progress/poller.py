"""Looks at all aggregators again and again, and keeps the latest look at each."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import aiohttp

from distilljob_core.progress import Progress, Sight, SightReason
from distilljob_operator.progress.look import Found, JobKey, Look, Source, Target
from distilljob_operator.progress.news import news
from distilljob_operator.workqueue import WorkQueue

MAXIMUM_IN_FLIGHT: Final = 64
KEPT_POLLS: Final = 1.5
"""One failed look makes nobody blind: for so long the progress of the one before still counts."""
KEEP_ALIVE_SECONDS: Final = 1.0
"""Long enough for the two pages of one look. Connections kept from poll to poll would be thousands."""
TELL_SECONDS: Final = 60.0
"""How often looks without news are told: what people are shown goes on."""
_SAME_PAGE: Final = Progress(
    Sight.STALE, SightReason.SCRAPE_STALE, "the aggregator's clock stands still: the same page came again"
)


def open_session() -> aiohttp.ClientSession:
    """Open what looks are made with; a context manager."""
    connector = aiohttp.TCPConnector(limit=MAXIMUM_IN_FLIGHT, keepalive_timeout=KEEP_ALIVE_SECONDS)
    return aiohttp.ClientSession(connector=connector)


class Poller:
    """Looks at each aggregator once in `poll_seconds`, each in a rhythm of its own.

    Args:
        source: where progress comes from.
        on_look: hears of a look, failed or not, that was asked for or brought news, and of one in a minute.
        clock: tells the time in seconds; must never go back.
        poll_seconds: between the beginnings of two looks at the same aggregator.
        on_error: hears of every look that brought no progress, by the name of the source.
    """

    def __init__(
        self,
        source: Source,
        on_look: Callable[[JobKey], None],
        *,
        clock: Callable[[], float],
        poll_seconds: float,
        on_error: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._source = source
        self._on_look = on_look
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._on_error = on_error
        self._queue: WorkQueue[JobKey] = WorkQueue(clock)
        self._targets: dict[JobKey, Target] = {}
        self._looks: dict[JobKey, Look] = {}
        self._told_seconds: dict[JobKey, float] = {}
        """When the latest look began that was told."""
        self._asked: set[JobKey] = set()

    async def run(self) -> None:
        """Look until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(MAXIMUM_IN_FLIGHT):
                group.create_task(self._work())

    def watch(self, target: Target) -> None:
        """Look at this aggregator from now on; at once if it has moved, else within one poll."""
        before = self._targets.get(target.key)
        if before == target:
            return
        self._targets[target.key] = target
        if before is None or before.uid != target.uid:
            self._clear(target.key)
            self._queue.add_at(target.key, self._clock() + random.uniform(0, self._poll_seconds))  # noqa: S311
        else:
            self._queue.add(target.key)

    def forget(self, key: JobKey) -> None:
        """Look at it no more."""
        self._targets.pop(key, None)
        self._clear(key)

    def refresh(self, key: JobKey) -> None:
        """Begin a look now, and tell of it; one that has begun does not count."""
        self._asked.add(key)
        self._queue.add(key)

    def latest(self, key: JobKey) -> Look | None:
        """Give the latest look, failed or not; None before the first."""
        return self._looks.get(key)

    def oldest_age_seconds(self) -> float | None:
        """Tell how old the samples are of the job whose samples are oldest; None while there are none."""
        now_seconds = self._clock()
        return max((now_seconds - look.scraped_seconds for look in self._looks.values()), default=None)

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            try:
                if target := self._targets.get(key):
                    await self._look(target)
            finally:
                self._queue.done(key)

    async def _look(self, target: Target) -> None:
        key, began_seconds = target.key, self._clock()
        was_asked = key in self._asked
        self._asked.discard(key)
        found = await self._source.find(target)
        current = self._targets.get(key)
        if current is None or current.uid != target.uid:
            return
        before = self._looks.get(key)
        if before is not None and found.clock is not None and found.clock == before.clock:
            found = replace(found, progress=_SAME_PAGE)
        look = self._as_look(before, found, began_seconds)
        self._looks[key] = look
        self._queue.add_at(key, began_seconds + self._poll_seconds)
        if found.progress.sight is not Sight.VALUE:
            self._on_error(self._source.name)
        is_due = began_seconds - self._told_seconds.get(key, float("-inf")) >= TELL_SECONDS
        if was_asked or is_due or before is None or news(look) != news(before):
            self._told_seconds[key] = began_seconds
            self._on_look(key)

    def _clear(self, key: JobKey) -> None:
        """Forget what was seen."""
        self._looks.pop(key, None)
        self._told_seconds.pop(key, None)
        self._asked.discard(key)

    def _as_look(self, before: Look | None, found: Found, began_seconds: float) -> Look:
        look = Look(
            taken_seconds=began_seconds,
            progress=found.progress,
            found_seconds=began_seconds,
            scraped_seconds=began_seconds - found.age_seconds,
            stale_after_seconds=self._source.stale_after_seconds,
            table=found.table,
            message=found.message,
            clock=found.clock,
        )
        if before is None or _is_good(look):
            return look
        look = replace(
            look, found_seconds=before.found_seconds, scraped_seconds=before.scraped_seconds, clock=before.clock
        )
        still_counts = began_seconds - before.found_seconds <= KEPT_POLLS * self._poll_seconds
        return replace(look, progress=before.progress) if _is_good(before) and still_counts else look


def _is_good(look: Look) -> bool:
    return look.progress.sight is Sight.VALUE
