"""The operator's memory of a job, kept in the job's own status: the way there and back.

Conditions are stored once, as the status's conditions; the memory beside them leaves them out.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic_core import from_json

from distilljob_core.conditions import Condition, ConditionType, Reason
from distilljob_core.lifecycle.model import JobState, state_from_json, state_to_json
from distilljob_core.status import ShownCondition


def write_memory(state: JobState) -> str:
    """Give the memory as one text."""
    return json.dumps(state_to_json(replace(state, conditions=())), separators=(",", ":"), ensure_ascii=False)


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
    return replace(state, conditions=tuple(_read_conditions(status.get("conditions") or [])))


def _read_conditions(found: list[Any]) -> list[Condition]:
    """Read those that this version knows; the next decision brings the others."""
    conditions = []
    for raw in found:
        try:
            read = ShownCondition.model_validate(raw)
            type_, reason = ConditionType(read.type), Reason(read.reason)
        except ValueError:
            continue
        since_seconds = read.last_transition_time.timestamp()
        conditions.append(Condition(type_, read.status, reason, read.message, since_seconds))
    return conditions
