"""What students say of themselves, kept in memory only: heartbeats, and when they last made progress."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from distilljob_core.exchange import Report
from distilljob_core.phases import StudentPhase

_JOINED: Final = Report(StudentPhase.STARTING)


@dataclass(frozen=True, slots=True)
class Sighting:
    """The newest report of one student's newest attempt; times are the aggregator's own."""

    report: Report
    heartbeat_seconds: float
    progress_seconds: float

    def after(self, report: Report, now_seconds: float) -> "Sighting":
        """Give the sighting after one more heartbeat: only a changed counter or phase is progress."""
        moved = (report.progress, report.phase) != (self.report.progress, self.report.phase)
        return Sighting(report, now_seconds, now_seconds if moved else self.progress_seconds)


class Live:
    """The newest sighting of every student; forgotten when a newer attempt joins.

    Args:
        now: a steady clock. On one that is set back, a student that hangs from then on would look busy for hours.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._sightings: dict[str, Sighting] = {}

    def join(self, student: str) -> None:
        """A new attempt joined: what the one before it reported says nothing any more."""
        now_seconds = self._now()
        self._sightings[student] = Sighting(_JOINED, now_seconds, now_seconds)

    def hear(self, student: str, report: Report) -> None:
        """Take one heartbeat."""
        before, now_seconds = self._sightings.get(student), self._now()
        after = Sighting(report, now_seconds, now_seconds) if before is None else before.after(report, now_seconds)
        self._sightings[student] = after

    def progress(self, student: str) -> None:
        """Note progress that the aggregator saw itself: durable rows, fetched rows, published chunks."""
        if student in self._sightings:
            self._sightings[student] = replace(self._sightings[student], progress_seconds=self._now())

    def of(self, student: str) -> Sighting | None:
        """Give a student's newest sighting; None until this process hears of it."""
        return self._sightings.get(student)
