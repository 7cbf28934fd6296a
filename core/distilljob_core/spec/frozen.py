"""What of a spec may no longer change, as CEL for the API server and in Python for all else.

The status says how far a job is, so the CEL rules stand at the root of the resource: rules below `spec` do not see it.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from pydantic.alias_generators import to_camel

from distilljob_core.spec.base import Problem
from distilljob_core.spec.job import DistillJobSpec


class Stage(StrEnum):
    """How far a job is; each freezes more than it would be without."""

    STARTED = "Started"
    SUSPENDED = "Suspended"
    """The condition, not the wish: no pod is left, so pods may be changed."""
    ENDED = "Ended"


@dataclass(frozen=True, slots=True)
class Freeze:
    """One field that may change no more, as the API server checks it."""

    cel: str
    field_path: str
    """From the root of the resource."""
    message: str


FROZEN: Final = "cannot change once the job has started: delete the job and apply it anew"
FROZEN_POD: Final = "pods change only before the start and while the condition Suspended is True: set suspend to true"
FROZEN_WISH: Final = "cannot change once the job has ended: only ttlSecondsAfterFinished can"

LASTING_WISH: Final = "ttl_seconds_after_finished"
"""May change at any time."""
WISHES: Final = ("suspend", "stop_after_cycle", "active_deadline_seconds", "failure_policy", LASTING_WISH)
"""Fields of the spec that may change as long as the job has not ended."""

_POD: Final = re.compile(r"spec\.((aggregator|students\[\d+\])\.)?pod\b")


def frozen_changes(before: DistillJobSpec, now: DistillJobSpec, stage: Stage) -> Iterator[Problem]:
    """Name every changed field that may change no more, defaults counted; the hint shows both values."""
    for path, old, new in changed_fields(before, now):
        if message := _refusal(path, stage):
            yield Problem(path, message, f"is {json.dumps(new)}, was {json.dumps(old)}")


def changed_fields(before: DistillJobSpec, now: DistillJobSpec) -> Iterator[tuple[str, Any, Any]]:
    """Give path, old and new value of every field that differs, defaults counted."""
    was, is_now = (spec.model_dump(mode="json", by_alias=True) for spec in (before, now))
    return _differing(was, is_now, "spec")


def _refusal(path: str, stage: Stage) -> str:
    field = re.split(r"[.\[]", path)[1]
    if field in map(to_camel, WISHES):
        return FROZEN_WISH if stage is Stage.ENDED and field != to_camel(LASTING_WISH) else ""
    if _POD.match(path):
        return "" if stage is Stage.SUSPENDED else FROZEN_POD
    return FROZEN


def _differing(before: Any, now: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*before, *now]):
            yield from _differing(before.get(key), now.get(key), f"{path}.{key}")
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for index, (old, new) in enumerate(zip(before, now, strict=True)):
            yield from _differing(old, new, f"{path}[{index}]")
    elif before != now:
        yield path, before, now


_NOT_STARTED: Final = "!has(oldSelf.status) || !has(oldSelf.status.startTime)"
_NOT_ENDED: Final = "!has(oldSelf.status) || !has(oldSelf.status.completionTime)"
_SUSPENDED: Final = (
    "has(oldSelf.status.conditions) && oldSelf.status.conditions.exists(c, c.type == 'Suspended' && c.status == 'True')"
)


def _same(path: str) -> str:
    return f"self.{path} == oldSelf.{path}"


def _same_if_any(path: str) -> str:
    """Compare what may be absent."""
    return f"(has(self.{path}) ? has(oldSelf.{path}) && {_same(path)} : !has(oldSelf.{path}))"


def _same_of_students(field: str) -> str:
    """Compare one field of all students in their order, so that none may come, go or change places."""
    return f"self.spec.students.map(s, s.{field}) == oldSelf.spec.students.map(s, s.{field})"


def _same_of_students_if_any(field: str) -> str:
    listed = f"map(s, has(s.{field}) ? [s.{field}] : [])"
    return f"self.spec.students.{listed} == oldSelf.spec.students.{listed}"


def _freezes() -> Iterator[Freeze]:
    whole = ("dataset", "method", "training", "checkpoints", "results", "placement", "quorum", "startupDeadlineSeconds")
    for field in (*whole, "cleanupPolicy", "security", "aggregator.storage", "aggregator.teacherHistory"):
        yield Freeze(f"{_NOT_STARTED} || {_same(f'spec.{field}')}", f".spec.{field}", FROZEN)
    students = [_same_of_students(field) for field in ("name", "model", "gpus", "replicas", "command")]
    students += [_same_of_students_if_any(field) for field in ("initialWeights", "training")]
    yield Freeze(f"{_NOT_STARTED} || ({' && '.join(students)})", ".spec.students", FROZEN)
    for field in ("pod", "aggregator.pod"):
        yield Freeze(f"{_NOT_STARTED} || {_SUSPENDED} || {_same(f'spec.{field}')}", f".spec.{field}", FROZEN_POD)
    other_students = "self.spec.students.map(s, s.name) != oldSelf.spec.students.map(s, s.name)"
    pods = f"{other_students} || {_same_of_students('pod')}"
    yield Freeze(f"{_NOT_STARTED} || {_SUSPENDED} || {pods}", ".spec.students", FROZEN_POD)
    for field in ("suspend", "failurePolicy"):
        yield Freeze(f"{_NOT_ENDED} || {_same(f'spec.{field}')}", f".spec.{field}", FROZEN_WISH)
    for field in ("stopAfterCycle", "activeDeadlineSeconds"):
        yield Freeze(f"{_NOT_ENDED} || {_same_if_any(f'spec.{field}')}", f".spec.{field}", FROZEN_WISH)


FREEZES: Final = tuple(_freezes())
