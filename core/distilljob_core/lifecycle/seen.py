"""What is seen of a job's world, by an operator or by a runner on one machine.

An attempt is one start of a student: a Job with one pod in a cluster, a process on one machine. Times are seconds on
the watcher's clock; ages of progress come from the aggregator's own clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from distilljob_core.progress import Progress
from distilljob_core.round_table import RoundTable


class AttemptStanding(StrEnum):
    """What is seen of one attempt. An attempt of which nothing is seen (any more) is simply not listed."""

    PENDING = "Pending"
    """Asked for, not running: unschedulable, image not there, no pod yet. The reason says why."""
    RUNNING = "Running"
    ENDED = "Ended"
    GONE = "Gone"
    """Nothing of it is left, and nobody saw how it ended."""
    UNREACHABLE = "Unreachable"
    """On a node that nobody hears from; nobody can say whether it still runs."""


@dataclass(frozen=True, slots=True)
class AttemptSeen:
    """One attempt of one student, as it is seen now."""

    attempt: int
    standing: AttemptStanding
    pod_uid: str = ""
    """Unique for this start; empty until known."""
    started_seconds: float | None = None
    ended_seconds: float | None = None
    exit_code: int | None = None
    """None while it runs, and when nobody can tell."""
    reason: str = ""
    """Kubelet's or the scheduler's own word: OOMKilled, Evicted, Unschedulable, ImagePullBackOff."""
    message: str = ""
    """The process's own last words, or the scheduler's and kubelet's message, passed on."""
    disrupted: bool = False
    """DisruptionTarget: evicted, preempted or drained."""
    deleted: bool = False
    """Somebody asked for its deletion before it ended."""
    awaits_look: bool = False
    """It is over, and what is known of the aggregator is older than that: its end cannot be judged yet."""
    terminal_record: bool = False
    """The termination message carries this student's terminal record."""
    recorded_exit_code: int | None = None
    """The exit code that the termination message itself speaks of; a trainer of the user's must confirm a fatal one."""

    @property
    def is_live(self) -> bool:
        """Whether it may still do anything: whatever has not provably ended."""
        return self.standing not in (AttemptStanding.ENDED, AttemptStanding.GONE)


@dataclass(frozen=True, slots=True)
class StudentSeen:
    """All attempts of one student that can still be seen, also old ones that are kept for their logs."""

    attempts: tuple[AttemptSeen, ...] = ()


@dataclass(frozen=True, slots=True)
class AggregatorSeen:
    """The aggregator's process."""

    exists: bool = False
    """Anything of it is left: it must be gone before the job counts as suspended."""
    ready: bool = False
    started_seconds: float | None = None
    message: str = ""
    """Why it is not ready."""
    fatal_exit_code: int | None = None
    """It ended with this, and starting it again cannot help."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at the world."""

    watching_since_seconds: float
    """Start of unbroken watching: start of the operator or runner, or the end of its own last pause (a suspended
    laptop, a clock that jumped). Nothing is timed from before it, and orders given before it are given again."""
    students: Mapping[str, StudentSeen] = field(default_factory=dict)
    aggregator: AggregatorSeen = AggregatorSeen()
    progress: Progress = field(default_factory=Progress)
    table: RoundTable | None = None
    """None = unreadable now."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user may change his mind about while the job runs."""

    suspend: bool = False
    stop_after_cycle: int | None = None
    restarts: Mapping[str, int] = field(default_factory=dict)
    """By student: this attempt, and any before it, is to be over; a later one is what was wished for."""
