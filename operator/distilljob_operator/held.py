"""What the operator holds of a job between two looks at it. All of it can be had again from the cluster."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from distilljob_core.conditions import Condition, ConditionType, Reason
from distilljob_core.lifecycle.model import Decision, End, EndReason, JobState, Standing, StudentState
from distilljob_core.lifecycle.seen import AttemptSeen, AttemptStanding, Seen, StudentSeen
from distilljob_core.names import AGGREGATOR
from distilljob_operator.base import Base
from distilljob_operator.no_pod import Reasons
from distilljob_operator.sightings import Sightings
from distilljob_operator.wanted import Wanted

NOT_CREATED: Final = "NotCreated"
"""Reason of an attempt that could not be made; the message is the API server's own."""
WHOLE: Final = (AGGREGATOR, 0)
"""Stands for what belongs to no attempt."""


@dataclass(slots=True)
class Held:
    """One job."""

    state: JobState
    written: Mapping[str, Any]
    """The status as it stands in the resource."""
    written_seconds: float = 0.0
    tried: tuple[str, Decision | None] | None = None
    """Memory and decision of the last status write, if it was refused or not answered; see `Reconciler._find_out`."""
    wanted: Wanted | None = None
    sightings: Sightings = field(default_factory=Sightings)
    no_pod: Reasons = field(default_factory=Reasons)
    base: Base | None = None
    taken: str = ""
    """Which name somebody else's object has, in words for the user."""
    unmade: dict[tuple[str, int], str] = field(default_factory=dict)
    """Why an attempt, or something of the whole, could not be made, by student and attempt."""
    unended: set[End] = field(default_factory=set)
    """Orders to end an attempt that did not arrive."""
    failed_seconds: dict[str, float] = field(default_factory=dict)
    """When a student's present failure was first seen."""

    def valid(self, now_seconds: float) -> Condition:
        """Say whether the job can be carried out as it stands."""
        assert self.wanted is not None
        if self.taken:
            return Condition(ConditionType.VALID, "False", Reason.NAME_CONFLICT, self.taken, now_seconds)
        return self.wanted.valid

    def starts_to_repeat(self) -> set[tuple[str, int]]:
        """Give the attempts that could not be made and are still to be."""
        students = self.state.students
        return {
            (name, attempt)
            for name, attempt in self.unmade
            if name in students and students[name].attempt == attempt and students[name].standing is Standing.LIVE
        }

    def owe(self, decision: Decision) -> None:
        """Have everything that a decision orders done at the next opportunity."""
        for action in decision.actions:
            if isinstance(action, End):
                self.unended.add(action)
            else:
                self.unmade[action.student, action.attempt] = "it is about to be made"

    def show_unmade(self, seen: Seen) -> Seen:
        """Show what could not be made as pending, with the API server's own words."""
        students = dict(seen.students)
        for name, attempt in self.starts_to_repeat():
            attempts = students.get(name, StudentSeen()).attempts
            if all(one.attempt != attempt for one in attempts):
                message = self.unmade[name, attempt]
                pending = AttemptSeen(attempt, AttemptStanding.PENDING, reason=NOT_CREATED, message=message)
                students[name] = StudentSeen((*attempts, pending))
        aggregator = seen.aggregator
        if not aggregator.ready and WHOLE in self.unmade:
            aggregator = replace(aggregator, message=self.unmade[WHOLE])
        return replace(seen, students=students, aggregator=aggregator)

    def note_failures(self, seen: Seen, decision: Decision, now_seconds: float) -> None:
        """Note when the failures of current attempts are first seen, so that their replacement can be timed."""
        for name, student in decision.state.students.items():
            past = self.state.students.get(name, StudentState())
            attempts = seen.students.get(name, StudentSeen()).attempts
            is_over = any(one.attempt == past.attempt and not one.is_live for one in attempts)
            hangs = student.ending is not None and student.ending.reason is EndReason.HANG
            if student.standing in (Standing.DONE, Standing.DROPPED, Standing.PARKED):
                self.failed_seconds.pop(name, None)
            elif (is_over and past.standing is Standing.LIVE) or hangs:
                self.failed_seconds.setdefault(name, now_seconds)
