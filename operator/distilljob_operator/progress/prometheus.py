"""Progress from a Prometheus server that scrapes the aggregators: a few queries a tick, for all jobs together.

Metrics of the aggregator bear the labels `namespace` and `distilljob` there, the job's name. Round tables are no
metrics; they still come from the aggregators.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

from distilljob_core.progress import (
    CLOCK,
    INFO,
    LAST_HEARTBEAT,
    LAST_PROGRESS,
    PHASE,
    Progress,
    Sample,
    read_progress,
    scrape_failed,
)
from distilljob_operator.progress.fetch import Fetch, read_body, read_table, unreadable
from distilljob_operator.progress.look import Found, JobKey, Target, Unreadable

TIMEOUT_SECONDS: Final = 10.0
MAXIMUM_BYTES: Final = 64 << 20
STALE_SECONDS: Final = 180.0
"""Three scrapes at Prometheus' own default interval. A target that is down shows sooner: its series end at once."""
QUERIES: Final = (
    (CLOCK, CLOCK),
    (INFO, INFO),
    (PHASE, f"{PHASE} == 1"),
    (LAST_PROGRESS, LAST_PROGRESS),
    (LAST_HEARTBEAT, LAST_HEARTBEAT),
)
"""The clock comes first: a scrape that falls between two queries can only make ages too small."""
_OWN: Final = frozenset({"__name__", "student", "attempt", "pod_uid", "phase"})
"""Labels that the aggregator gives; all others say which scrape target a series comes from."""

_Place = tuple[tuple[str, str], ...]
"""The labels of one scrape target."""


@dataclass(slots=True)
class _Scraped:
    """The samples of one scrape target."""

    age_seconds: float
    samples: list[Sample] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Tick:
    """All jobs at one time; or why there are none."""

    taken_seconds: float
    jobs: Mapping[JobKey, _Scraped] = field(default_factory=dict)
    error: str = ""


class Prometheus:
    """Asks a Prometheus server about all jobs at once.

    Args:
        session: makes the requests.
        url: of the server; /api/v1/query is added.
        fetch: the way to the aggregators, for their tables.
        poll_seconds: how often the server is asked.
        clock: tells the time in seconds; must never go back.
        stale_after_seconds: age of a scrape from which on it says nothing about now.
    """

    name: Final = "Prometheus"

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        fetch: Fetch,
        poll_seconds: float,
        *,
        clock: Callable[[], float],
        stale_after_seconds: float = STALE_SECONDS,
    ) -> None:
        self._session = session
        self._url = f"{url.rstrip('/')}/api/v1/query"
        self._fetch = fetch
        self._poll_seconds = poll_seconds
        self._clock = clock
        self._tick: _Tick | None = None
        self._asking = asyncio.Lock()
        self.stale_after_seconds = stale_after_seconds

    async def find(self, target: Target) -> Found:
        """Give the job's samples of this tick, and read its table."""
        progress, age_seconds = await self._progress(target.key)
        try:
            return Found(progress, age_seconds, await read_table(self._fetch, target))
        except Unreadable as error:
            return Found(progress, age_seconds, message=str(error))

    async def _progress(self, key: JobKey) -> tuple[Progress, float]:
        tick = await self._ask()
        if tick.error:
            return scrape_failed(tick.error), 0.0
        scraped = tick.jobs.get(key)
        if scraped is None:
            where = f'{CLOCK}{{namespace="{key[0]}",distilljob="{key[1]}"}}'
            return scrape_failed(f"Prometheus has no {where}: does it scrape the aggregator, with these labels?"), 0.0
        return read_progress(scraped.samples), scraped.age_seconds + self._clock() - tick.taken_seconds

    async def _ask(self) -> _Tick:
        """Give this tick; whoever is the first in it asks for all."""
        async with self._asking:
            now_seconds = self._clock()
            if self._tick is None or now_seconds - self._tick.taken_seconds >= self._poll_seconds:
                try:
                    self._tick = _Tick(now_seconds, await self._read_all())
                except Unreadable as error:
                    self._tick = _Tick(now_seconds, error=str(error))
                except (ValueError, KeyError, TypeError) as error:
                    message = f"{self._url}: not the answer of a Prometheus server ({type(error).__name__}: {error})"
                    self._tick = _Tick(now_seconds, error=message)
            return self._tick

    async def _read_all(self) -> dict[JobKey, _Scraped]:
        places: dict[_Place, _Scraped] = {}
        for series in await self._query(f"timestamp({CLOCK})"):
            asked_seconds, scraped_seconds = series["value"]
            places[_place(series["metric"])] = _Scraped(asked_seconds - float(scraped_seconds))
        for name, query in QUERIES:
            for series in await self._query(query):
                if scraped := places.get(_place(series["metric"])):
                    scraped.samples.append((name, series["metric"], float(series["value"][1])))
        return _newest(places.items())

    async def _query(self, query: str) -> list[dict[str, Any]]:
        with unreadable(self._url):
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
            async with self._session.get(self._url, params={"query": query}, timeout=timeout) as response:
                body = await read_body(response, self._url, MAXIMUM_BYTES)
        found: list[dict[str, Any]] = json.loads(body)["data"]["result"]
        return found


def _place(labels: Mapping[str, str]) -> _Place:
    return tuple(sorted(item for item in labels.items() if item[0] not in _OWN))


def _newest(places: Iterable[tuple[_Place, _Scraped]]) -> dict[JobKey, _Scraped]:
    """Give each job the scrape target that was scraped last: an aggregator that was replaced leaves series behind."""
    jobs: dict[JobKey, _Scraped] = {}
    for place, scraped in places:
        labels = dict(place)
        key = labels.get("namespace", ""), labels.get("distilljob", "")
        if key not in jobs or scraped.age_seconds < jobs[key].age_seconds:
            jobs[key] = scraped
    return jobs
