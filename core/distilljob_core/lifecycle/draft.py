"""What every policy is given, and what it hands on: the world as seen, and the decision so far."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from distilljob_core.conditions import Reason
from distilljob_core.lifecycle.model import Action, Event, JobState, Outcome, Standing, StudentState
from distilljob_core.lifecycle.seen import AttemptSeen, AttemptStanding, Seen, Wishes
from distilljob_core.progress import Reading, Sight, SightReason
from distilljob_core.round_table import StudentView
from distilljob_core.spec.job import DistillJobSpec
from distilljob_core.spec.resolve import replica_names, student_names


@dataclass(frozen=True, slots=True)
class World:
    """All that a decision may depend on, but for the state."""

    spec: DistillJobSpec
    wishes: Wishes
    seen: Seen
    now_seconds: float
    names: tuple[str, ...]
    """All students in spec order."""
    own_trainers: frozenset[str]
    """Students that run a trainer of the user's."""
    views: Mapping[str, StudentView]
    """Rows of the round table; empty when it is unreadable."""

    def attempts(self, student: str) -> tuple[AttemptSeen, ...]:
        """All attempts of a student that can still be seen."""
        seen = self.seen.students.get(student)
        return seen.attempts if seen else ()

    def current(self, student: str, state: StudentState) -> AttemptSeen | None:
        """The attempt that the job goes on with, if it can be seen; another pod under its number is not it."""
        for attempt in self.attempts(student):
            if attempt.attempt == state.attempt and attempt.pod_uid == state.pod_uid:
                return attempt
        return None

    def live(self, student: str) -> AttemptSeen | None:
        """Any attempt that may still do something, the newest first."""
        return max((a for a in self.attempts(student) if a.is_live), key=lambda a: a.attempt, default=None)

    def is_running(self, student: str, state: StudentState) -> bool:
        """Whether the current attempt runs."""
        current = self.current(student, state)
        return current is not None and current.standing is AttemptStanding.RUNNING

    def view(self, student: str) -> StudentView | None:
        """The student's row of the round table; None when the table is unreadable."""
        return self.views.get(student)

    def reading(self, student: str, state: StudentState) -> Reading:
        """Progress of the current attempt.

        Series of a dead attempt stay in sight until the next one joins. Alone they prove nothing; with the round
        table's word that this attempt has not joined, it has not.
        """
        reading = self.seen.progress.of(student, state.attempt, state.pod_uid)
        view = self.view(student)
        has_joined = view and (view.attempt, view.pod_uid) == (state.attempt, state.pod_uid)
        if reading.reason is SightReason.OLDER_ATTEMPT and view and not has_joined:
            return Reading(Sight.NO_DATA, SightReason.NOT_JOINED)
        return reading

    @property
    def num_concurrent(self) -> int:
        """How many students may be live at once."""
        return min(self.spec.placement.maximum_concurrent_students or len(self.names), len(self.names))


def look(spec: DistillJobSpec, wishes: Wishes, seen: Seen, now_seconds: float) -> World:
    """Put together all that a decision may depend on."""
    own = frozenset(name for student in spec.students if student.command for name in replica_names(student))
    views = {row.name: row for row in seen.table.students} if seen.table else {}
    return World(spec, wishes, seen, now_seconds, student_names(spec), own, views)


@dataclass(frozen=True, slots=True)
class Draft:
    """The decision so far; every change gives a new one."""

    state: JobState
    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    wakes: tuple[float, ...] = ()

    def students(self) -> Iterator[tuple[str, StudentState]]:
        """All students in spec order."""
        return iter(self.state.students.items())

    def in_play(self) -> Iterator[tuple[str, StudentState]]:
        """The students that still have something to do."""
        over = (Standing.DONE, Standing.DROPPED)
        return ((name, student) for name, student in self.students() if student.standing not in over)

    def job(self, **changes: Any) -> "Draft":
        """Change the job's state."""
        return replace(self, state=replace(self.state, **changes))

    def student(self, name: str, **changes: Any) -> "Draft":
        """Change one student's state."""
        students = dict(self.state.students)
        students[name] = replace(students[name], **changes)
        return self.job(students=students)

    def act(self, action: Action) -> "Draft":
        """Add an action."""
        return replace(self, actions=(*self.actions, action))

    def tell(
        self,
        kind: Literal["Normal", "Warning"],
        reason: Reason,
        message: str,
        student: str | None = None,
        attempt: int | None = None,
    ) -> "Draft":
        """Add an event, once; one about a student is about its newest attempt unless another is given."""
        if student is not None and attempt is None:
            attempt = self.state.students[student].attempt
        event = Event(kind, reason, message, student, attempt)
        return self if event in self.events else replace(self, events=(*self.events, event))

    def wake(self, at_seconds: float) -> "Draft":
        """Look again at this time at the latest."""
        return replace(self, wakes=(*self.wakes, at_seconds))

    def fail(self, reason: Reason, message: str, now_seconds: float) -> "Draft":
        """End the job; the first reason stays."""
        if self.state.outcome:
            return self
        outcome = Outcome("Failed", reason, message, now_seconds)
        return self.job(outcome=outcome).tell("Warning", reason, message)
