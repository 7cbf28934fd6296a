"""What one student's row of the status says, and the words that all of the status is written in."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final

from distilljob_core.lifecycle.model import JobState, Restarts, Standing, StudentState
from distilljob_core.outlook import NOT_AT_WORK, doing
from distilljob_core.phases import StudentPhase
from distilljob_core.round_table import RoundTable, StudentView
from distilljob_core.spec.job import DistillJob
from distilljob_core.status import DistillJobStatus, ShownEnding, ShownRestarts, ShownStudent, ShownTermination

MINUTE_SECONDS: Final = 60.0
LAST_SECONDS: Final = 253402300799.0
"""The end of the year 9999: no later date can be written down."""


@dataclass(frozen=True)
class Sight:
    """All that a status is made of."""

    job: DistillJob | None
    state: JobState
    table: RoundTable | None
    now_seconds: float
    past: DistillJobStatus

    @cached_property
    def views(self) -> Mapping[str, StudentView]:
        """Rows of the table; none when it is unreadable."""
        return {view.name: view for view in self.table.students} if self.table else {}

    @cached_property
    def past_students(self) -> Mapping[str, ShownStudent]:
        """Rows of the status so far."""
        return {student.name: student for student in self.past.students}

    @cached_property
    def in_play(self) -> tuple[str, ...]:
        """Students that still have something to do."""
        over = (Standing.DONE, Standing.DROPPED)
        return tuple(name for name, student in self.state.students.items() if student.standing not in over)


def student_row(sight: Sight, name: str, student: StudentState) -> ShownStudent:
    """Lay out one student's row."""
    view, past = sight.views.get(name), sight.past_students.get(name, ShownStudent(name=name))
    return ShownStudent(
        name=name,
        phase=_student_phase(sight, student, view, past),
        attempt=student.attempt,
        **given(
            pod_uid=student.pod_uid,
            cycle=(view.cycle if view else 0) or past.cycle or None,
            last_progress_time=_last_progress(view) or past.last_progress_time,
            restarts=add_restarts(student.restarts),
            backoff_until=optional_moment(student.backoff_until_seconds) if student.standing is Standing.IDLE else None,
            ending=_ending(student),
            last_termination=_last_termination(student),
            accuracy=_accuracy(view, past),
        ),
    )


def _student_phase(sight: Sight, student: StudentState, view: StudentView | None, past: ShownStudent) -> str:
    word = doing(student, view, sight.now_seconds)
    is_blind = sight.table is None and word == StudentPhase.STARTING and past.attempt == student.attempt
    return past.phase if is_blind and past.phase not in NOT_AT_WORK else word


def _last_progress(view: StudentView | None) -> datetime | None:
    """To the minute, on the aggregator's clock as it is: an age taken against ours would change with every look."""
    if view is None or not view.last_progress_timestamp_seconds:
        return None
    return moment(view.last_progress_timestamp_seconds, MINUTE_SECONDS)


def _accuracy(view: StudentView | None, past: ShownStudent) -> float | None:
    if view is None:
        return past.accuracy
    accuracy = view.accuracy.get("holdout") if view.summary is None else view.summary.accuracy.last
    return past.accuracy if accuracy is None else round(accuracy, 4)


def _ending(student: StudentState) -> ShownEnding | None:
    ending = student.ending
    if ending is None:
        return None
    return ShownEnding(attempt=ending.attempt, reason=ending.reason, time=moment(ending.asked_seconds))


def _last_termination(student: StudentState) -> ShownTermination | None:
    end = student.last_termination
    if end is None:
        return None
    return ShownTermination(
        attempt=end.attempt,
        time=moment(end.time_seconds),
        **given(exit_code=end.exit_code, reason=end.reason, message=end.message),
    )


def add_restarts(*restarts: Restarts) -> ShownRestarts:
    """Add them up; causes that never were are left out."""
    counts = {cause: sum(getattr(one, cause) for one in restarts) for cause in ShownRestarts.model_fields}
    return ShownRestarts(**{cause: count for cause, count in counts.items() if count})


def given(**fields: Any) -> dict[str, Any]:
    """Leave out what there is nothing to say of."""
    return {name: value for name, value in fields.items() if value is not None and value not in ("", ShownRestarts())}


def optional_moment(seconds: float | None) -> datetime | None:
    """Give a moment, where there is one."""
    return None if seconds is None else moment(seconds)


def moment(seconds: float, step_seconds: float = 1.0) -> datetime:
    """Write seconds since 1970 as a date, rounded down to a step."""
    seconds = min(max(seconds, 0.0), LAST_SECONDS)
    return datetime.fromtimestamp(seconds // step_seconds * step_seconds, UTC)
