"""The operator's memory of a job, kept in the job's own status: the way there and back.

The long texts, conditions and last terminations, are stored once, as they are shown: the memory leaves them out.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from pydantic_core import from_json

from distilljob_core.conditions import Condition, ConditionType, Reason
from distilljob_core.lifecycle.model import JobState, Termination, state_from_json, state_to_json
from distilljob_core.status import ShownCondition, ShownStudent


def write_memory(state: JobState) -> str:
    """Give the memory as one text."""
    students = {name: replace(student, last_termination=None) for name, student in state.students.items()}
    brief = replace(state, conditions=(), students=students)
    return json.dumps(state_to_json(brief), separators=(",", ":"), ensure_ascii=False)


def read_state(body: Mapping[str, Any]) -> JobState:
    """Read what is remembered of a job from its resource.

    A memory that is damaged, or another job's, is none: what the children and the round table show is adopted then.
    """
    uid, status = str(body["metadata"]["uid"]), body.get("status") or {}
    try:
        state = state_from_json(from_json(status.get("memory", ""), allow_inf_nan=False))
    except (ValueError, TypeError, AttributeError):  # pydantic's ValidationError is a ValueError
        return JobState(uid)
    if state.uid != uid:
        return JobState(uid)
    ends = dict(_read_terminations(status.get("students") or []))
    return replace(
        state,
        conditions=tuple(_read_conditions(status.get("conditions") or [])),
        students={name: replace(student, last_termination=ends.get(name)) for name, student in state.students.items()},
    )


def _read_conditions(found: list[Any]) -> Iterator[Condition]:
    """Read those that this version knows; the next decision brings the others."""
    for raw in found:
        with suppress(ValueError):
            read = ShownCondition.model_validate(raw)
            since_seconds = read.last_transition_time.timestamp()
            yield Condition(ConditionType(read.type), read.status, Reason(read.reason), read.message, since_seconds)


def _read_terminations(found: list[Any]) -> Iterator[tuple[str, Termination]]:
    for raw in found:
        with suppress(ValueError):
            read = ShownStudent.model_validate(raw)
            if (end := read.last_termination) is not None:
                yield read.name, Termination(end.attempt, end.exit_code, end.reason, end.time.timestamp(), end.message)
