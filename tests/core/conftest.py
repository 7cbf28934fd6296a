"""A job's world on the bench: set what is seen, let the lifecycle decide, look at the decision."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from distilljob_core.lifecycle.decide import decide
from distilljob_core.lifecycle.model import Decision, End, JobState, Start, state_from_json, state_to_json
from distilljob_core.lifecycle.seen import AggregatorSeen, AttemptSeen, AttemptStanding, Seen, StudentSeen, Wishes
from distilljob_core.phases import StudentPhase
from distilljob_core.progress import Progress, Sight, SightReason, StudentSamples
from distilljob_core.results import StudentSummary
from distilljob_core.round_table import CloseView, RoundTable, RoundView, StudentView
from distilljob_core.spec.job import DistillJobSpec

SUMMARY = StudentSummary.model_construct(name="a", attempt=1)
VIEW = StudentView.model_construct(
    phase=StudentPhase.STARTING,
    attempt=0,
    pod_uid="",
    rows_durable=0,
    parked_attempt=None,
    owes_rows=True,
    behind=False,
    summary=None,
)


def _replayed(state: JobState) -> JobState:
    return state_from_json(json.loads(json.dumps(state_to_json(state))))


class Bench:
    """Everything is in order unless a test says otherwise."""

    def __init__(self, num_students: int = 3, **spec: Any) -> None:
        names = "abcdefgh"[:num_students]
        students = [{"name": name, "model": {"name": "x"}} for name in names]
        self.spec = DistillJobSpec.model_validate({"dataset": {"name": "digits"}, "students": students} | spec)
        self.now = 1000.0
        self.watching_since = 1000.0
        self.wishes = Wishes()
        self.state = JobState("uid")
        self.attempts: dict[tuple[str, int], AttemptSeen] = {}
        self.aggregator = AggregatorSeen(exists=True, ready=True, started_seconds=1000.0)
        self.views = {name: VIEW.model_copy(update={"name": name}) for name in names}
        self.closes: list[CloseView] = []
        self.is_readable = True
        self.complete = False
        self.storage_full: str | None = None
        self.open: RoundView | None = RoundView(cycle=1, split="train", open_seconds=0.0)
        self.progress = Progress(Sight.VALUE, SightReason.FRESH)

    @property
    def seen(self) -> Seen:
        students: dict[str, tuple[AttemptSeen, ...]] = {}
        for (name, _), attempt in sorted(self.attempts.items()):
            students[name] = (*students.get(name, ()), attempt)
        table = RoundTable.model_construct(
            open=self.open,
            closes=self.closes,
            students=list(self.views.values()),
            complete=self.complete,
            storage_full=self.storage_full,
        )
        return Seen(
            self.watching_since,
            {name: StudentSeen(attempts) for name, attempts in students.items()},
            self.aggregator,
            self.progress,
            table if self.is_readable else None,
        )

    def decide(self, after_seconds: float = 0.0) -> Decision:
        """Decide, and hold the lifecycle to its word: the same sight decides nothing new, the state survives JSON."""
        self.now += after_seconds
        decision = decide(self.spec, self.wishes, self.seen, self.state, self.now)
        assert _replayed(decision.state) == decision.state
        again = decide(self.spec, self.wishes, self.seen, decision.state, self.now)
        assert (again.actions, again.events, again.state) == ((), (), decision.state)
        self.state = decision.state
        return decision

    def obey(self, decision: Decision) -> Decision:
        """Carry out all orders: attempts started run and join, attempts ended are gone."""
        for action in decision.actions:
            if isinstance(action, Start):
                self.run(action.student, action.attempt)
            else:
                self.attempts.pop((action.student, action.attempt))
        return decision

    def go(self, after_seconds: float = 0.0) -> Decision:
        """Decide and obey."""
        return self.obey(self.decide(after_seconds))

    def run(self, name: str, attempt: int) -> None:
        uid = f"{name}-{attempt}"
        self.attempts[name, attempt] = AttemptSeen(attempt, AttemptStanding.RUNNING, uid, started_seconds=self.now)
        self.view(name, attempt=attempt, pod_uid=uid, phase=StudentPhase.INDEPENDENT)
        self.sample(name, StudentPhase.INDEPENDENT)

    def attempt(self, name: str) -> AttemptSeen:
        return max((seen for (owner, _), seen in self.attempts.items() if owner == name), key=lambda a: a.attempt)

    def change(self, name: str, **changes: Any) -> None:
        """Change what is seen of the newest attempt."""
        attempt = self.attempt(name)
        self.attempts[name, attempt.attempt] = replace(attempt, **changes)

    def end(self, name: str, exit_code: int | None = 1, **changes: Any) -> None:
        ended = {"standing": AttemptStanding.ENDED, "exit_code": exit_code, "ended_seconds": self.now}
        self.change(name, **ended | changes)

    def lose(self, name: str) -> None:
        """Let the newest attempt vanish without a trace."""
        del self.attempts[name, self.attempt(name).attempt]

    def view(self, name: str, **changes: Any) -> None:
        self.views[name] = self.views[name].model_copy(update=changes)

    def finish(self, name: str) -> None:
        self.view(name, summary=SUMMARY, phase=StudentPhase.FINISHED, owes_rows=False)

    def close(self, *contributors: str) -> None:
        """Close a training round."""
        names = contributors or tuple(self.views)
        cycle = len(self.closes) + 1
        self.closes = [
            *self.closes,
            CloseView(cycle=cycle, split="train", contributors=list(names), weights=[], missing=[], last=False),
        ]

    def sample(
        self, name: str, phase: StudentPhase | None, age_seconds: float | None = 0.0, heartbeat_seconds: float = 0.0
    ) -> None:
        """Set what a fresh scrape says of the newest attempt."""
        attempt = self.attempt(name)
        samples = StudentSamples(attempt.attempt, attempt.pod_uid, phase, age_seconds, heartbeat_seconds)
        self.progress = replace(self.progress, students={**self.progress.students, name: samples})

    def condition(self, type_: str) -> tuple[str, str, str]:
        found = next(condition for condition in self.state.conditions if condition.type == type_)
        return found.status, found.reason.value, found.message


def _starts(decision: Decision) -> list[tuple[str, int]]:
    return [(action.student, action.attempt) for action in decision.actions if isinstance(action, Start)]


def _ends(decision: Decision) -> list[tuple[str, int, str]]:
    return [
        (action.student, action.attempt, action.reason.value) for action in decision.actions if isinstance(action, End)
    ]


@pytest.fixture
def bench() -> Callable[..., Bench]:
    """Make a bench; `running=True` starts all students on it first."""

    def make(num_students: int = 3, *, running: bool = True, **spec: Any) -> Bench:
        made = Bench(num_students, **spec)
        if running:
            made.go()
            made.decide(1.0)
        return made

    return make


@pytest.fixture
def starts() -> Callable[[Decision], list[tuple[str, int]]]:
    """List the attempts that a decision starts."""
    return _starts


@pytest.fixture
def ends() -> Callable[[Decision], list[tuple[str, int, str]]]:
    """List the attempts that a decision ends, and why."""
    return _ends
