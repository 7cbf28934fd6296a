"""The aggregator's metric samples as progress of one attempt: a value, a stale value, or no data."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import isfinite, nan
from typing import Final

from distilljob_core.phases import StudentPhase

Sample = tuple[str, Mapping[str, str], float]
"""Name, labels, value."""

CLOCK: Final = "distilljob_clock_timestamp_seconds"
INFO: Final = "distilljob_student_info"
PHASE: Final = "distilljob_student_phase"
LAST_PROGRESS: Final = "distilljob_student_last_progress_timestamp_seconds"
LAST_HEARTBEAT: Final = "distilljob_student_last_heartbeat_timestamp_seconds"
NAMES: Final = (CLOCK, INFO, PHASE, LAST_PROGRESS, LAST_HEARTBEAT)
"""Everything that progress is read from."""


class Sight(StrEnum):
    """What is known about progress."""

    VALUE = "Value"
    STALE = "Stale"
    NO_DATA = "NoData"


class SightReason(StrEnum):
    """Why a reading is what it is."""

    FRESH = "Fresh"
    """The scrape is fresh and speaks of this very attempt."""
    NOT_JOINED = "NotJoined"
    """The scrape is fresh, and this student is not in it. That is evidence: it is silent, we are not blind."""
    OLDER_ATTEMPT = "OlderAttempt"
    """The scrape is fresh, and speaks of an older attempt or another pod; by itself it says nothing of this one."""
    NEVER_SCRAPED = "NeverScraped"
    SCRAPE_FAILED = "ScrapeFailed"
    SCRAPE_STALE = "ScrapeStale"
    CLOCK_MISSING = "ClockMissing"
    """The aggregator's clock is missing or not a number, so no age can be told."""
    NOT_A_NUMBER = "NotANumber"
    """A sample of this student is missing, doubled or not a number."""
    NEWER_ATTEMPT = "NewerAttempt"
    """The aggregator knows a newer attempt than the one asked for: the asker's own state is old."""


@dataclass(frozen=True, slots=True)
class StudentSamples:
    """What one scrape says of one student; None where it says nothing usable."""

    attempt: int
    pod_uid: str
    phase: StudentPhase | None
    progress_age_seconds: float | None
    heartbeat_age_seconds: float | None


@dataclass(frozen=True, slots=True)
class Reading:
    """Progress of one attempt. Phase and ages are set exactly when the sight is VALUE."""

    sight: Sight
    reason: SightReason
    phase: StudentPhase | None = None
    progress_age_seconds: float = 0.0
    heartbeat_age_seconds: float = 0.0

    @property
    def is_evidence(self) -> bool:
        """Whether a hang may be judged by it: everything else is blindness, and blindness restarts nobody."""
        return self.reason in (SightReason.FRESH, SightReason.NOT_JOINED)


@dataclass(frozen=True, slots=True)
class Progress:
    """One scrape of the aggregator, read. Freshness belongs to the scrape, not to a student's heartbeat."""

    sight: Sight = Sight.NO_DATA
    reason: SightReason = SightReason.NEVER_SCRAPED
    message: str = ""
    students: Mapping[str, StudentSamples] = field(default_factory=dict)

    def of(self, student: str, attempt: int, pod_uid: str) -> Reading:
        """Read the progress of one attempt; samples of an older attempt or another pod are never its own."""
        if self.sight is not Sight.VALUE:
            return Reading(self.sight, self.reason)
        samples = self.students.get(student)
        if samples is None:
            return Reading(Sight.NO_DATA, SightReason.NOT_JOINED)
        if samples.attempt > attempt:
            return Reading(Sight.NO_DATA, SightReason.NEWER_ATTEMPT)
        if samples.attempt < attempt or samples.pod_uid != pod_uid:
            return Reading(Sight.NO_DATA, SightReason.OLDER_ATTEMPT)
        return _reading(samples)


def _reading(samples: StudentSamples) -> Reading:
    progress, heartbeat = samples.progress_age_seconds, samples.heartbeat_age_seconds
    if samples.phase is None or progress is None or heartbeat is None:
        return Reading(Sight.NO_DATA, SightReason.NOT_A_NUMBER)
    return Reading(Sight.VALUE, SightReason.FRESH, samples.phase, progress, heartbeat)


def scrape_failed(message: str) -> Progress:
    """Progress after a scrape that brought nothing."""
    return Progress(Sight.NO_DATA, SightReason.SCRAPE_FAILED, message)


def read_progress(samples: Iterable[Sample]) -> Progress:
    """Read one scrape, as it was when it was taken.

    Args:
        samples: all samples of one aggregator; others than those named in `NAMES` are ignored.
    """
    series = _by_name_and_student(samples)
    clock = _only_value(series.get((CLOCK, ""), []))
    if clock is None:
        return Progress(Sight.NO_DATA, SightReason.CLOCK_MISSING, f"no usable {CLOCK} in the scrape")
    return Progress(Sight.VALUE, SightReason.FRESH, "", _students(series, clock))


def as_of(progress: Progress, *, taken_seconds: float, now_seconds: float, stale_after_seconds: float) -> Progress:
    """Give what a scrape is worth some time after it was taken.

    Args:
        progress: what was read of it.
        taken_seconds: when it was taken, on the asker's clock.
        now_seconds: the asker's clock.
        stale_after_seconds: age from which on it says nothing about now.
    """
    if progress.sight is not Sight.VALUE or now_seconds - taken_seconds <= stale_after_seconds:
        return progress
    message = f"the last scrape is older than {stale_after_seconds:.0f} s"
    return replace(progress, sight=Sight.STALE, reason=SightReason.SCRAPE_STALE, message=message)


_LINE: Final = re.compile(rf"^({'|'.join(NAMES)})(?:{{(.*)}})? (\S+)", re.MULTILINE)
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ESCAPE: Final = re.compile(r"\\(.)")


def read_samples(text: str) -> list[Sample]:
    """Read what progress is made of from the text format of metrics, the phases that a student is not in left out.

    An aggregator with many students shows thousands of samples: general parsers take twenty times as long.
    """
    return [
        (name, _labels(labels), _number(value))
        for name, labels, value in _LINE.findall(text)
        if not (name == PHASE and value in ("0", "0.0"))
    ]


def _labels(text: str) -> dict[str, str]:
    labels = dict(_LABEL.findall(text))
    return {name: _unescaped(value) for name, value in labels.items()} if "\\" in text else labels


def _unescaped(value: str) -> str:
    return _ESCAPE.sub(lambda found: "\n" if found[1] == "n" else found[1], value)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return nan


Labeled = tuple[Mapping[str, str], float]
Series = Mapping[tuple[str, str], list[Labeled]]

_PHASES: Final = {phase.value: phase for phase in StudentPhase}


def _by_name_and_student(samples: Iterable[Sample]) -> Series:
    series: dict[tuple[str, str], list[Labeled]] = {}
    for name, labels, value in samples:
        series.setdefault((name, labels.get("student", "")), []).append((labels, value))
    return series


def _students(series: Series, clock: float) -> dict[str, StudentSamples]:
    students = {}
    for (name, student), infos in series.items():
        if name != INFO:
            continue
        attempts = [(int(text), labels) for labels, value in infos if (text := _attempt(labels, value))]
        if not attempts:
            continue
        attempt, labels = max(attempts, key=lambda pair: pair[0])
        students[student] = StudentSamples(
            attempt,
            labels.get("pod_uid", ""),
            _phase(series.get((PHASE, student), [])),
            _age(series.get((LAST_PROGRESS, student), []), clock),
            _age(series.get((LAST_HEARTBEAT, student), []), clock),
        )
    return students


def _attempt(labels: Mapping[str, str], value: float) -> str:
    attempt = labels.get("attempt", "")
    return attempt if value == 1 and attempt.isdecimal() else ""


def _only_value(samples: list[Labeled]) -> float | None:
    if len(samples) != 1 or not isfinite(samples[0][1]):
        return None
    return samples[0][1]


def _age(samples: list[Labeled], clock: float) -> float | None:
    value = _only_value(samples)
    return None if value is None else max(0.0, clock - value)


def _phase(samples: list[Labeled]) -> StudentPhase | None:
    if not all(isfinite(value) for _, value in samples):
        return None
    names = [labels.get("phase", "") for labels, value in samples if value == 1]
    return _PHASES.get(names[0]) if len(names) == 1 else None
