"""From events to a time line: attempts as spans, what ended them, rounds that closed, times without a runner."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from distilljob.run_directory.events import RunEvent, RunReason
from distilljob_core.conditions import Reason

KILLED: Final = 137
"""128 + SIGKILL."""
_EXITED: Final = re.compile(r"\bexited (\d+)")

ENDS: Final = {
    Reason.STUDENT_DONE: "done",
    Reason.STUDENT_PARKED: "parked",
    Reason.STUDENT_CRASHED: "crash",
    Reason.STUDENT_DIVERGED: "crash",
    Reason.STUDENT_HUNG: "hang",
    Reason.STUDENT_EXITED_EARLY: "early exit",
    Reason.STUDENT_NODE_LOST: "lost",
    Reason.STUDENT_DELETED: "lost",
    Reason.STUDENT_DROPPED: "dropped",
}
"""What an attempt's end is called here, by the event that tells it; a crash by SIGKILL is a kill."""

FAULTS: Final = ("crash", "kill", "hang", "early exit", "lost", "dropped")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One start of a student; times since the run's first event."""

    student: str
    number: int
    begin_seconds: float
    end_seconds: float
    end: str
    """done, parked, a fault; stopped = with its runner; unseen = nobody saw an end, or it has none yet."""


@dataclass(frozen=True, slots=True)
class TimeLine:
    """A run from its first event to its last."""

    attempts: tuple[Attempt, ...]
    """By start."""
    round_closes: tuple[float, ...]
    aggregator_ends: tuple[float, ...]
    """Those that nobody asked for."""
    gaps: tuple[tuple[float, float], ...]
    """Times without a runner."""
    span_seconds: float


def elapsed(events: Sequence[RunEvent]) -> list[float]:
    """Give each event's time since the first. The order is the file's: a clock that jumps back stands still here."""
    times: list[float] = []
    for event in events:
        times.append(max(event.timestamp_seconds - events[0].timestamp_seconds, times[-1] if times else 0.0))
    return times


def time_line(events: Sequence[RunEvent]) -> TimeLine:
    """Lay the events of a run out in time."""
    times = elapsed(events)
    pairs = list(zip(events, times, strict=True))
    attempts = sorted(_attempts(pairs), key=lambda attempt: (attempt.begin_seconds, attempt.student))
    return TimeLine(
        attempts=tuple(attempts),
        round_closes=tuple(at for event, at in pairs if event.reason == RunReason.ROUND_CLOSED),
        aggregator_ends=tuple(at for event, at in pairs if event.reason == RunReason.AGGREGATOR_ENDED),
        gaps=tuple(_gaps(pairs)),
        span_seconds=times[-1] if times else 0.0,
    )


def _attempts(pairs: Sequence[tuple[RunEvent, float]]) -> Iterator[Attempt]:
    at_work: dict[str, Attempt] = {}
    before_seconds = 0.0
    for event, at_seconds in pairs:
        if event.reason == RunReason.RUNNER_STARTED:  # whoever is still at work lost its runner unseen
            yield from (replace(attempt, end_seconds=before_seconds) for attempt in at_work.values())
            at_work.clear()
        elif event.reason == RunReason.RUNNER_STOPPED:
            yield from (replace(one, end_seconds=at_seconds, end="stopped") for one in at_work.values())
            at_work.clear()
        elif event.student is not None and event.reason == Reason.STUDENT_STARTED:
            at_work[event.student] = Attempt(event.student, event.attempt or 1, at_seconds, at_seconds, "unseen")
        elif event.student in at_work and event.reason in ENDS:
            yield replace(at_work.pop(event.student), end_seconds=at_seconds, end=_end(event))
        before_seconds = at_seconds
    yield from (replace(attempt, end_seconds=before_seconds) for attempt in at_work.values())


def _end(event: RunEvent) -> str:
    end = ENDS[Reason(event.reason)]
    code = _EXITED.search(event.message)
    return "kill" if end == "crash" and code and int(code[1]) == KILLED else end


def _gaps(pairs: Sequence[tuple[RunEvent, float]]) -> Iterator[tuple[float, float]]:
    for (_, before_seconds), (event, at_seconds) in pairwise(pairs):
        if event.reason == RunReason.RUNNER_STARTED:
            yield before_seconds, at_seconds
