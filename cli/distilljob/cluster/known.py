"""What a DistillJob's status says, as the state that pictures of local runs are made of too.

The operator's own memory is no interface; everything here stands in what `kubectl get -o yaml` shows to people.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, TypeVar, cast

from pydantic import ValidationError

from distilljob_core.conditions import Condition, ConditionType, Reason
from distilljob_core.lifecycle.model import (
    Ending,
    EndReason,
    JobState,
    Manner,
    Outcome,
    Restarts,
    Standing,
    StudentState,
    Termination,
)
from distilljob_core.outlook import BACK_OFF, ENDING, QUEUED
from distilljob_core.phases import StudentPhase
from distilljob_core.spec.job import DistillJob
from distilljob_core.spec.resolve import student_names
from distilljob_core.status import DistillJobStatus, ShownCondition, ShownRestarts, ShownStudent, ShownTermination

_STANDINGS: Final[Mapping[str, Standing]] = {
    QUEUED: Standing.IDLE,
    BACK_OFF: Standing.IDLE,
    StudentPhase.PARKED: Standing.PARKED,
    StudentPhase.NEEDS_ROWS: Standing.PARKED,
    StudentPhase.FINISHED: Standing.DONE,
    StudentPhase.DROPPED: Standing.DROPPED,
}
"""All other phases are those of an attempt at work."""


def read_status(body: Mapping[str, Any]) -> DistillJobStatus:
    """Read a status; one of another version that says it all differently is none."""
    try:
        return DistillJobStatus.model_validate(body.get("status") or {})
    except ValidationError:
        return DistillJobStatus()


def job_state(job: DistillJob, status: DistillJobStatus) -> JobState:
    """Tell what the status says of a job; students that it does not know yet are queued."""
    told = {student.name: _student(student) for student in status.students}
    conditions = tuple(_conditions(status.conditions))
    return JobState(
        uid=job.metadata.uid,
        students={name: StudentState() for name in student_names(job.spec)} | told,
        started_seconds=_seconds(status.start_time),
        active_since_seconds=_active_since(status, conditions),
        active_seconds=status.active_seconds,
        outcome=_outcome(status, conditions),
        conditions=conditions,
    )


def _student(shown: ShownStudent) -> StudentState:
    standing = _STANDINGS.get(shown.phase, Standing.LIVE)
    return StudentState(
        standing=standing,
        attempt=shown.attempt,
        pod_uid=shown.pod_uid,
        ending=_ending(shown),
        backoff_until_seconds=_seconds(shown.backoff_until),
        restarts=_restarts(shown.restarts),
        last_termination=_termination(shown.last_termination),
    )


def _termination(shown: ShownTermination | None) -> Termination | None:
    if shown is None:
        return None
    return Termination(shown.attempt, shown.exit_code, shown.reason, shown.time.timestamp(), shown.message)


def _ending(shown: ShownStudent) -> Ending | None:
    if shown.phase != ENDING or shown.ending is None:
        return None
    reason = _word(EndReason, shown.ending.reason)
    return Ending(shown.ending.attempt, reason, Manner.GRACEFUL, shown.ending.time.timestamp())


def _restarts(shown: ShownRestarts) -> Restarts:
    return Restarts(**shown.model_dump())


def _conditions(shown: list[ShownCondition]) -> Iterator[Condition]:
    for one in shown:
        since_seconds = one.last_transition_time.timestamp()
        type_, reason = _word(ConditionType, one.type), _word(Reason, one.reason)
        yield Condition(type_, one.status, reason, one.message, since_seconds)


W = TypeVar("W", bound=StrEnum)


def _word(known: type[W], text: str) -> W:
    """Give one of the words we know; one of a newer operator is shown as it is."""
    try:
        return known(text)
    except ValueError:
        return cast(W, text)


def _outcome(status: DistillJobStatus, conditions: tuple[Condition, ...]) -> Outcome | None:
    for condition in conditions:
        if condition.type in (ConditionType.COMPLETE, ConditionType.FAILED) and condition.status == "True":
            ended_seconds = _seconds(status.completion_time) or condition.last_transition_seconds
            is_complete = condition.type == ConditionType.COMPLETE
            return Outcome("Complete" if is_complete else "Failed", condition.reason, condition.message, ended_seconds)
    return None


def _active_since(status: DistillJobStatus, conditions: tuple[Condition, ...]) -> float | None:
    """Tell since when the clock runs: from the start, or from the end of the last suspension; else it stands."""
    suspended = next((one for one in conditions if one.type == ConditionType.SUSPENDED), None)
    stands = suspended is not None and (suspended.status == "True" or suspended.reason == Reason.SUSPENDING)
    if status.start_time is None or status.completion_time is not None or stands:
        return None
    began_seconds = status.start_time.timestamp()
    return max(began_seconds, suspended.last_transition_seconds) if suspended else began_seconds


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
