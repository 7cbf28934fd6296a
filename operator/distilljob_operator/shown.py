"""The status of a DistillJob: memory, round table and time -> what `kubectl` shows."""

import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from distilljob_core.conditions import STICKY, Condition, ConditionType, Reason, merge_conditions
from distilljob_core.lifecycle.model import JobState
from distilljob_core.lifecycle.restarts import cut_message
from distilljob_core.outlook import NOT_AT_WORK
from distilljob_core.phases import StudentPhase
from distilljob_core.round_table import RoundTable
from distilljob_core.spec.base import dump
from distilljob_core.spec.job import DistillJob
from distilljob_core.status import DistillJobStatus, ShownCondition, ShownStudent
from distilljob_operator.memory import write_memory
from distilljob_operator.shown_progress import progress
from distilljob_operator.shown_rows import Sight, add_restarts, given, moment, optional_moment, student_row

CONDITION_CHARACTERS: Final = 1024
_NUMBER: Final = re.compile(r"\d+")


def shown(
    job: DistillJob | None,
    state: JobState,
    table: RoundTable | None,
    now_seconds: float,
    *,
    generation: int,
    valid: Condition,
    before: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Lay out the status as JSON.

    Args:
        job: what is wanted; None where it cannot be read.
        state: what is remembered.
        table: the newest round table; None = unreadable, and what the last one said stays shown.
        now_seconds: the operator's clock.
        generation: of the resource that was acted on.
        valid: the condition that whoever reads the spec decides on.
        before: the status so far.
    """
    sight = Sight(job, state, table, now_seconds, _read_status(before))
    conditions = merge_conditions(state.conditions, [valid])
    students = [student_row(sight, name, student) for name, student in state.students.items()]
    status = DistillJobStatus(
        observed_generation=generation,
        phase=_phase(state, conditions),
        conditions=[_condition(sight, condition, generation) for condition in conditions],
        students=students,
        students_column=_students_column(students),
        restarts_total=sum(student.restarts.total for student in state.students.values()),
        memory=write_memory(state),
        **given(
            restarts=add_restarts(*(student.restarts for student in state.students.values())),
            active_seconds=int(state.active_seconds) or None,
            start_time=optional_moment(state.started_seconds),
            completion_time=optional_moment(state.outcome.time_seconds) if state.outcome else None,
            **progress(sight),
        ),
    )
    return dump(status)


def _phase(state: JobState, conditions: tuple[Condition, ...]) -> str:
    held = {condition.type: condition for condition in conditions}
    true = {type_ for type_, condition in held.items() if condition.status == "True"}
    for type_ in (ConditionType.COMPLETE, ConditionType.FAILED, ConditionType.SUSPENDED):
        if type_ in true:
            return type_.value
    if state.started_seconds is None:
        return "Pending" if ConditionType.VALID in true else "Invalid"
    if (suspended := held.get(ConditionType.SUSPENDED)) and suspended.reason is Reason.SUSPENDING:
        return "Suspending"
    return "Training" if ConditionType.PROGRESSING in true else "Starting"


def _condition(sight: Sight, condition: Condition, generation: int) -> ShownCondition:
    """A terminal condition never changes again, so it goes on speaking of the generation that it came with."""
    if condition.type in STICKY and condition.status == "True":
        said = (past.observed_generation for past in sight.past.conditions if past.type == condition.type)
        generation = next(said, generation)
    return ShownCondition(
        type=condition.type,
        status=condition.status,
        reason=condition.reason,
        message=cut_message(condition.message, CONDITION_CHARACTERS),
        last_transition_time=moment(condition.last_transition_seconds),
        observed_generation=generation,
    )


def _students_column(students: list[ShownStudent]) -> str:
    idle = NOT_AT_WORK - {StudentPhase.FINISHED} | {StudentPhase.STARTING}
    wanted = [student for student in students if student.phase != StudentPhase.DROPPED]
    return f"{sum(student.phase not in idle for student in wanted)}/{len(wanted)}"


def _read_status(raw: Mapping[str, Any] | None) -> DistillJobStatus:
    try:
        return DistillJobStatus.model_validate(raw or {})
    except ValidationError:
        return DistillJobStatus()


def is_urgent(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> bool:
    """Say whether a status must be written at once; what is not urgent is progress, worth one write a minute."""
    return before is None or _news(before) != _news(after)


def _news(status: Mapping[str, Any]) -> list[Any]:
    told = [status.get(key) for key in ("observedGeneration", "phase", "completionTime", "result", "restarts")]
    conditions = [
        (found["type"], found["status"], found["reason"], _hindrance(found)) for found in status.get("conditions", ())
    ]
    return [*told, conditions, [_student_news(student) for student in status.get("students", ())]]


def _hindrance(condition: Mapping[str, Any]) -> str:
    """Say why a student cannot run, in the scheduler's or kubelet's words but for counts and times, which change for
    ever. Messages without such words come and go while a job starts."""
    message: str = condition.get("message", "")
    is_told = condition["type"] == ConditionType.STUDENTS_READY and message.count(": ") > 1
    return _NUMBER.sub("", message) if is_told else ""


def _student_news(student: Mapping[str, Any]) -> list[Any]:
    """The phases of an attempt at work are progress; whether it is at work is news."""
    phase = student.get("phase")
    told = [student.get(key) for key in ("name", "attempt", "ending")]
    return [*told, phase if phase in NOT_AT_WORK else None]
