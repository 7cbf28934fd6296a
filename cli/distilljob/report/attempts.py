"""From events to a time line: attempts as spans, what ended them, rounds that closed, times without a runner."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from distilljob.run_directory.events import RunEvent
from distilljob_core.conditions import Reason

ENDS: Final = {
    Reason.STUDENT_DONE: "done",
    Reason.STUDENT_PARKED: "parked",
    Reason.STUDENT_CRASHED: "crash",
    Reason.STUDENT_OUT_OF_MEMORY: "crash",
    Reason.STUDENT_DIVERGED: "crash",
    Reason.STUDENT_HUNG: "hang",
    Reason.STUDENT_EXITED_EARLY: "early exit",
    Reason.STUDENT_NODE_LOST: "lost",
    Reason.STUDENT_DELETED: "lost",
    Reason.STUDENT_DROPPED: "dropped",
}
"""What an attempt's end is called here, by the event that tells it."""

FAULTS: Final = ("crash", "hang", "early exit", "lost", "dropped")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One start of a student; times since the run's first event."""

    student: str
    number: int
    begin_seconds: float
    end_seconds: float
    end: str
    """done, parked, crash, hang, early exit, lost, dropped; stopped with the runner; "open" when nobody saw an end."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that concerns the whole run."""

    at_seconds: float
    kind: str
    """round closed, runner started, runner stopped, aggregator ended, failed."""
    message: str


@dataclass(frozen=True, slots=True)
class TimeLine:
    """A run from its first event to its last."""

    attempts: tuple[Attempt, ...]
    moments: tuple[Moment, ...]
    span_seconds: float


_MOMENTS: Final = {
    "RoundClosed": "round closed",
    "RunnerStarted": "runner started",
    "RunnerStopped": "runner stopped",
    "AggregatorEnded": "aggregator ended",
}


def elapsed(events: Sequence[RunEvent]) -> list[float]:
    """Give each event's time since the first. The order is the file's: a clock that jumps back stands still here."""
    times: list[float] = []
    for event in events:
        times.append(max(event.timestamp_seconds - events[0].timestamp_seconds, times[-1] if times else 0.0))
    return times


def time_line(events: Sequence[RunEvent]) -> TimeLine:
    """Lay the events of a run out in time."""
    times = elapsed(events)
    span_seconds = times[-1] if times else 0.0
    open_attempts: dict[str, Attempt] = {}
    attempts: list[Attempt] = []

    def close(students: list[str], at_seconds: float, end: str) -> None:
        ended = [open_attempts.pop(student) for student in students if student in open_attempts]
        attempts.extend(replace(attempt, end_seconds=at_seconds, end=end) for attempt in ended)

    for event, at_seconds in zip(events, times, strict=True):
        if event.student and event.reason == Reason.STUDENT_STARTED:
            close([event.student], at_seconds, "open")
            open_attempts[event.student] = _begun(event, at_seconds)
        elif event.student and event.reason in ENDS:
            close([event.student], at_seconds, ENDS[Reason(event.reason)])
        elif event.reason in ("RunnerStarted", "RunnerStopped"):
            close(list(open_attempts), at_seconds, "stopped")
    close(list(open_attempts), span_seconds, "open")
    attempts.sort(key=lambda attempt: (attempt.begin_seconds, attempt.student))
    return TimeLine(tuple(attempts), tuple(_moments(events, times)), span_seconds)


def _begun(event: RunEvent, at_seconds: float) -> Attempt:
    last_word = event.message.rpartition(" ")[2]
    number = event.attempt or (int(last_word) if last_word.isdecimal() else 1)
    return Attempt(event.student or "", number, at_seconds, at_seconds, "open")


def _moments(events: Sequence[RunEvent], times: Sequence[float]) -> Iterator[Moment]:
    for event, at_seconds in zip(events, times, strict=True):
        if event.reason in _MOMENTS:
            yield Moment(at_seconds, _MOMENTS[event.reason], event.message)
