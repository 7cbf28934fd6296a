"""Progress from the aggregator's own metrics."""

from typing import Final

from distilljob_core.progress import CLOCK, read_progress, read_samples, scrape_failed
from distilljob_operator.progress.fetch import Fetch, read_table
from distilljob_operator.progress.look import Found, Target, Unreadable

MAXIMUM_METRICS_BYTES: Final = 1 << 20
STALE_POLLS: Final = 3


class Scrape:
    """Asks each aggregator itself.

    Metrics do not say whose they are, so they count only beside a round table that does: an address may have gone to
    somebody else, in whose metrics every student of ours would look silent.
    """

    name: Final = "Scrape"

    def __init__(self, fetch: Fetch, poll_seconds: float) -> None:
        self._fetch = fetch
        self.stale_after_seconds = STALE_POLLS * poll_seconds

    async def find(self, target: Target) -> Found:
        """Read the table, then the metrics."""
        try:
            table = await read_table(self._fetch, target)
        except Unreadable as error:
            return Found(scrape_failed(str(error)), message=str(error))
        try:
            metrics = await self._fetch(target, "/metrics", MAXIMUM_METRICS_BYTES)
        except Unreadable as error:
            return Found(scrape_failed(str(error)), table=table)
        samples = read_samples(metrics.decode(errors="replace"))
        clock = next((value for name, _, value in samples if name == CLOCK), None)
        return Found(read_progress(samples), table=table, clock=clock)
