"""The closed list of what a DistillJob's conditions and events can say, and when each is said."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Literal

Truth = Literal["True", "False", "Unknown"]


class ConditionType(StrEnum):
    """Types of conditions; each row says when it is true."""

    VALID = "Valid"
    """The spec passed every check."""
    AGGREGATOR_READY = "AggregatorReady"
    """The aggregator answers its readiness probe."""
    STUDENTS_READY = "StudentsReady"
    """Every student that should run does."""
    PROGRESSING = "Progressing"
    """Students are training; false before the start, while suspended, and after the end."""
    PROGRESS_OBSERVABLE = "ProgressObservable"
    """Progress can be read, so hangs can be found; false or unknown means that nobody is restarted for hanging."""
    DEGRADED = "Degraded"
    """The job goes on, and somebody should look at it."""
    SUSPENDED = "Suspended"
    """All pods are gone on the user's wish."""
    COMPLETE = "Complete"
    """The job is done. Never changes again; excludes Failed."""
    FAILED = "Failed"
    """The job cannot go on. Never changes again; excludes Complete."""


class Reason(StrEnum):
    """Reasons of conditions and events; each row says when."""

    SPEC_VALID = "SpecValid"
    """The spec passed every check."""
    SPEC_INVALID = "SpecInvalid"
    """The spec breaks a rule that the API server could not check."""
    NAME_CONFLICT = "NameConflict"
    """A child's name is taken by an object of somebody else."""
    AGGREGATOR_AVAILABLE = "AggregatorAvailable"
    """The aggregator is ready."""
    AGGREGATOR_UNAVAILABLE = "AggregatorUnavailable"
    """The aggregator is not ready; students keep their state and retry."""
    ALL_STUDENTS_RUNNING = "AllStudentsRunning"
    """Every student that should run does."""
    STUDENTS_PENDING = "StudentsPending"
    """An attempt was asked for and does not run; the message is the scheduler's or kubelet's own."""
    STUDENTS_RESTARTING = "StudentsRestarting"
    """A student waits for its next attempt, or for the end of its last one."""
    NODE_UNREACHABLE = "NodeUnreachable"
    """A student's node is silent, and nobody can say whether it still runs."""
    WAITING_FOR_TABLE = "WaitingForTable"
    """An attempt ended, and only the aggregator, unreadable now, can say what that means."""
    TRAINING = "Training"
    """Students are at work."""
    STARTING = "Starting"
    """Too few students have joined yet."""
    PROGRESS_READ = "ProgressRead"
    """The aggregator's metrics are fresh."""
    METRICS_UNAVAILABLE = "MetricsUnavailable"
    """The aggregator's metrics cannot be read, or lack what is needed."""
    METRICS_STALE = "MetricsStale"
    """The last reading of the aggregator's metrics is too old."""
    SUSPENDED_BY_USER = "SuspendedByUser"
    """The user asked for it, and all pods are gone."""
    SUSPENDING = "Suspending"
    """The user asked for it; attempts save and end."""
    RESUMED = "Resumed"
    """The user let the job go on."""
    NOT_SUSPENDED = "NotSuspended"
    """Nobody asked for a suspension."""
    HEALTHY = "Healthy"
    """Nothing needs anybody's attention."""
    STUDENT_STARTED = "StudentStarted"
    """A student's first attempt, or one after parking, suspension or release."""
    STUDENT_PARKED = "StudentParked"
    """A student gave its place to another one."""
    STUDENT_DONE = "StudentDone"
    """A student's terminal record is durable."""
    STUDENT_CRASHED = "StudentCrashed"
    """An attempt ended with an error."""
    STUDENT_OUT_OF_MEMORY = "StudentOutOfMemory"
    """Attempts were killed for memory more than once: raise the student's memory."""
    STUDENT_EXITED_EARLY = "StudentExitedEarly"
    """An attempt exited 0 without a terminal record."""
    STUDENT_HUNG = "StudentHung"
    """An attempt made no step beyond its phase's limit."""
    STUDENT_NODE_LOST = "StudentNodeLost"
    """An attempt was evicted, preempted, drained, or lost with its node."""
    STUDENT_DELETED = "StudentDeleted"
    """An attempt was gone before its end was seen."""
    STUDENT_DROPPED = "StudentDropped"
    """A student left the group; the others go on."""
    STUDENT_RESTARTED = "StudentRestarted"
    """The user asked for a student's next attempt; its last one was ended, and is no failure."""
    STUDENT_STRAY_ENDED = "StudentStrayEnded"
    """An attempt that the job does not go on with was ended."""
    STUDENT_DIVERGED = "StudentDiverged"
    """A student's loss is not finite."""
    MASS_HANG = "MassHang"
    """More than half of the students look hung: aggregator, network or storage is suspect, nobody is restarted."""
    RESULTS_FULL = "ResultsFull"
    """The results volume is full; students retry until there is room."""
    SPOOL_FULL = "SpoolFull"
    """The aggregator's state volume is full; students retry until there is room."""
    RELEASED = "Released"
    """The startup deadline passed; everything was given back and is tried again."""
    STARTUP_DEADLINE_EXCEEDED = "StartupDeadlineExceeded"
    """Too few students joined, three times over."""
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    """activeDeadlineSeconds passed."""
    BUDGET_EXHAUSTED = "BudgetExhausted"
    """A failed student had no restart left, its own or the job's."""
    QUORUM_LOST = "QuorumLost"
    """Fewer students are left, or were in time, than quorum.minimumStudents."""
    FATAL_SPEC = "FatalSpec"
    """Exit 80: the spec is wrong in a way only the process could see."""
    FATAL_DATA = "FatalData"
    """Exit 81: the dataset is missing or damaged."""
    FATAL_MISMATCH = "FatalMismatch"
    """Exit 82: a student and the aggregator disagree about what the job is."""
    TEACHER_GONE = "TeacherGone"
    """Exit 84: a student needs a teacher that is no longer kept."""
    FATAL_DEVICE = "FatalDevice"
    """Exit 86: no such device, or it lacks the precision."""
    AGGREGATOR_STATE_LOST = "AggregatorStateLost"
    """Exit 87, or fewer closed rounds than before: restore the state volume, or delete the job and start over."""
    FATAL_EXIT = "FatalExit"
    """Exit 88 or 89: fatal, and unknown to this version."""
    ALL_STUDENTS_DONE = "AllStudentsDone"
    """Every student's terminal record is durable."""
    QUORUM_DONE = "QuorumDone"
    """Every student that was not dropped has its terminal record."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition, shaped as metav1.Condition; the time is in seconds since the epoch."""

    type: ConditionType
    status: Truth
    reason: Reason
    message: str
    last_transition_seconds: float


STICKY: Final = frozenset({ConditionType.COMPLETE, ConditionType.FAILED})


def merge_conditions(old: Iterable[Condition], new: Iterable[Condition]) -> tuple[Condition, ...]:
    """Lay new conditions over old ones, in the order of the types.

    The transition time moves only when the status does; a sticky condition that is true stays as it is.
    """
    merged = {condition.type: condition for condition in old}
    for condition in new:
        before = merged.get(condition.type)
        if before is None:
            merged[condition.type] = condition
        elif before.type in STICKY and before.status == "True":
            continue
        elif before.status == condition.status:
            if (before.reason, before.message) != (condition.reason, condition.message):
                merged[condition.type] = replace(condition, last_transition_seconds=before.last_transition_seconds)
        else:
            merged[condition.type] = condition
    return tuple(merged[type_] for type_ in ConditionType if type_ in merged)
