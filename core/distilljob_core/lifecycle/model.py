"""What is remembered of a job, and what is decided: the words of the lifecycle. What is seen stands in seen.py.

The contract of whoever calls `decide`:
- write `Decision.state` durably before carrying out its actions, in order;
- every action may come again (after a crash, or when it was not obeyed in time): Start of an attempt that exists and
  End of an attempt that is ending or gone are no-ops;
- report an ended attempt in `Seen` until the state has moved past it, and read `Seen.table` after the attempts were
  looked at, or mark those that ended since (`AttemptSeen.awaits_look`): exit 0 and exit 75 are proven by the table
  alone, and an end that was judged without it is taken back when the table shows the student done;
- `Decision.control` and `Decision.aggregator_wanted` are levels, not edges: make the world so, whenever it is not.

All times are seconds on the clock of whoever watches (operator or local runner).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from pydantic import TypeAdapter

from distilljob_core.conditions import Condition, Reason


class Standing(StrEnum):
    """Where a student is between its attempts."""

    IDLE = "Idle"
    """No attempt is allotted: it waits for its turn, its back-off, or the end of a suspension."""
    LIVE = "Live"
    """An attempt is allotted, and its end has not been judged."""
    PARKED = "Parked"
    """Left on the aggregator's directive; comes back when there is something to do."""
    DONE = "Done"
    """Its terminal record is durable."""
    DROPPED = "Dropped"
    """Left the group; never comes back."""


class Cause(StrEnum):
    """Why an attempt had to be replaced."""

    CRASH = "crash"
    HANG = "hang"
    EARLY = "early"
    NODE = "node"
    DELETED = "deleted"


class EndReason(StrEnum):
    """Why we end an attempt ourselves. Only Hang and NodeLost count as a failure of that attempt."""

    HANG = "Hang"
    NODE_LOST = "NodeLost"
    SUSPENDED = "Suspended"
    RELEASED = "Released"
    """The startup deadline passed: everybody gives back what he holds."""
    RESTARTED = "Restarted"
    """The user wished for the next attempt."""
    DROPPED = "Dropped"
    STRAY = "Stray"
    """Not the attempt that the job goes on with."""
    FINISHED = "Finished"
    """Its terminal record has been durable for long, and it has not left."""
    JOB_ENDED = "JobEnded"


class Manner(StrEnum):
    """How an attempt is ended."""

    GRACEFUL = "Graceful"
    """TERM, grace period, KILL; nothing need be left of it."""
    KEEP_EVIDENCE = "KeepEvidence"
    """TERM (the trainer dumps its stacks), then KILL; whatever shows what happened stays, logs above all."""
    FORCE = "Force"
    """Forget it without waiting for its node."""


@dataclass(frozen=True, slots=True)
class Restarts:
    """Replaced attempts, by cause. Parking, suspension and release are none."""

    crash: int = 0
    hang: int = 0
    early: int = 0
    node: int = 0
    deleted: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.crash + self.hang + self.early + self.node + self.deleted


@dataclass(frozen=True, slots=True)
class Ending:
    """An attempt that we are ending ourselves; its end is judged by this, not by its exit code."""

    attempt: int
    reason: EndReason
    manner: Manner
    asked_seconds: float


@dataclass(frozen=True, slots=True)
class Termination:
    """How the last judged attempt ended."""

    attempt: int
    exit_code: int | None
    reason: str
    time_seconds: float
    message: str


@dataclass(frozen=True, slots=True)
class Account:
    """What a student has used up of its patience; the newest failures count, a proven recovery clears them."""

    spent: int = 0
    """Charged restarts since the last refill: crash, hang, early, and every tenth deletion in a row."""
    spent_hangs: int = 0
    contributed: int = 0
    """Closed cycles with this student's labels."""
    contributed_at_failure: int = 0
    """The same at its last charged failure; the difference refills the budget."""
    failures_in_a_row: int = 0
    nodes_in_a_row: int = 0
    deleted_in_a_row: int = 0
    charged: int = 0
    """All charged restarts, never refilled: they add up to what the job has spent."""
    out_of_memory: int = 0
    """Attempts that were killed for memory."""


@dataclass(frozen=True, slots=True)
class StudentState:
    """What is remembered of one student."""

    standing: Standing = Standing.IDLE
    attempt: int = 0
    """Newest attempt allotted; only grows."""
    pod_uid: str = ""
    """Of that attempt, once seen; never changes for it."""
    asked_seconds: float | None = None
    """When the attempt was last ordered."""
    ending: Ending | None = None
    backoff_until_seconds: float | None = None
    restarts: Restarts = Restarts()
    account: Account = Account()
    last_termination: Termination | None = None
    unproven: tuple[tuple[int, Cause], ...] = ()
    """Attempts that were counted as failed while the aggregator could not be asked."""
    joined_seconds: float | None = None
    """When it was first seen to have joined, since the start or the last release."""
    done_seconds: float | None = None
    """When its terminal record was first seen."""
    sighted_seconds: float | None = None
    """End of the last blind spell on its progress; None while blind."""
    unreachable_seconds: float | None = None
    """Since when its node is silent."""


@dataclass(frozen=True, slots=True)
class MassHang:
    """A time in which more than half of the live students look hung, so that something they share is suspect."""

    since_seconds: float
    """Start of it, or the last ending in it."""
    num_ended: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the job ended; never changes again."""

    kind: Literal["Complete", "Failed"]
    reason: Reason
    message: str
    time_seconds: float


@dataclass(frozen=True, slots=True)
class JobState:
    """What is remembered of one job: DIR/state.json on one machine, the status sub-resource in a cluster."""

    uid: str
    students: Mapping[str, StudentState] = field(default_factory=dict)
    started_seconds: float | None = None
    """First start of anything; from here on the spec is frozen."""
    active_since_seconds: float | None = None
    """Start of the running stretch of activity; None before the start, while suspended and after the end."""
    active_seconds: float = 0.0
    """Earlier stretches, folded at suspend and end."""
    startup_since_seconds: float | None = None
    """From when the startup deadline runs."""
    startup_tries: int = 0
    """Startup deadlines that have passed."""
    released_until_seconds: float | None = None
    """After a passed startup deadline: nothing starts before this."""
    quorum_joined: bool = False
    num_closes: int = 0
    """Closed rounds seen, evaluation included."""
    last_close_seconds: float | None = None
    mass_hang: MassHang | None = None
    round_started_seconds: float | None = None
    """When the open round was first seen with a durable row; None while it has none."""
    outcome: Outcome | None = None
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Start:
    """Start this attempt of this student."""

    student: str
    attempt: int


@dataclass(frozen=True, slots=True)
class End:
    """End this attempt of this student."""

    student: str
    attempt: int
    reason: EndReason
    manner: Manner


Action = Start | End


@dataclass(frozen=True, slots=True)
class Event:
    """One decision, told once."""

    type: Literal["Normal", "Warning"]
    reason: Reason
    message: str
    student: str | None = None
    attempt: int | None = None
    """Of that student; None = the job as a whole."""


@dataclass(frozen=True, slots=True)
class Control:
    """What the aggregator is told: the content of the control file."""

    stop_after_cycle: int | None = None
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now, and when to look again at the latest."""

    state: JobState
    """Written durably before anything is done; carries the outcome, once there is one, and the conditions."""
    actions: tuple[Action, ...] = ()
    """In order: ends, then starts."""
    control: Control = Control()
    aggregator_wanted: bool = True
    """False while suspended and after the end, once no attempt is live: the aggregator leaves last."""
    events: tuple[Event, ...] = ()
    next_wake_seconds: float | None = None
    """The next moment at which something changes although nothing else is seen; None = only a new sight can."""


_STATE = TypeAdapter(JobState)


def state_to_json(state: JobState) -> dict[str, Any]:
    """Give the state as plain JSON types, without what is still at its default."""
    data: dict[str, Any] = _STATE.dump_python(state, mode="json", exclude_defaults=True)
    return data


def state_from_json(data: Mapping[str, Any]) -> JobState:
    """Read back what `state_to_json` gave.

    Raises:
        pydantic.ValidationError: the data is not a job state.
    """
    return _STATE.validate_python(data)
