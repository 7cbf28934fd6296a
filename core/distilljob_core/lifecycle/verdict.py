"""What the end of an attempt means: the taxonomy, in its order.

A terminal record, our own mark, a disruption, the exit code. Exit 0 proves nothing, and exit 75 only with the
aggregator's word for it.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from distilljob_core.conditions import Reason
from distilljob_core.exit_codes import ExitCode, is_fatal
from distilljob_core.lifecycle.model import Cause, EndReason, StudentState
from distilljob_core.lifecycle.seen import AttemptSeen, AttemptStanding
from distilljob_core.round_table import StudentView


class Sentence(StrEnum):
    """What follows from an end."""

    RETURNED = "Returned"
    """We ended it, and not for a failure of its own."""
    PARKED = "Parked"
    FAILED = "Failed"
    FATAL = "Fatal"
    UNKNOWN = "Unknown"
    """Only the aggregator can say, and it cannot be read: wait."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A sentence with its cause (Failed) or reason (Fatal)."""

    sentence: Sentence
    cause: Cause | None = None
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One attempt that is over."""

    student: StudentState
    seen: AttemptSeen | None
    """None: it is gone, and nobody saw how."""
    view: StudentView | None
    """The aggregator's word; None = unreadable."""
    own_trainer: bool
    """Whether it ran a trainer of the user's, whose exit codes need not mean what ours do."""


FATAL_REASONS: Final[dict[int, Reason]] = {
    ExitCode.SPEC: Reason.FATAL_SPEC,
    ExitCode.DATA: Reason.FATAL_DATA,
    ExitCode.MISMATCH: Reason.FATAL_MISMATCH,
    ExitCode.TEACHER_GONE: Reason.TEACHER_GONE,
    ExitCode.DIVERGED: Reason.STUDENT_DIVERGED,
    ExitCode.DEVICE: Reason.FATAL_DEVICE,
    ExitCode.STATE_LOST: Reason.AGGREGATOR_STATE_LOST,
}
OWN_FAILURES: Final = {EndReason.HANG: Cause.HANG, EndReason.NODE_LOST: Cause.NODE}

_KILLED: Final = (None, ExitCode.TERMINATED, 128 + 9)
"""How a process ends that is deleted: it saves on SIGTERM, or is killed when its grace period is over."""
_UNKNOWN: Final = Verdict(Sentence.UNKNOWN)
_PARKED: Final = Verdict(Sentence.PARKED)


def has_record(seen: AttemptSeen | None, view: StudentView | None) -> bool:
    """Whether the student's terminal record is proven."""
    return bool((view and view.summary) or (seen and seen.terminal_record))


def judge(case: Case) -> Verdict:
    """Judge one ended attempt of a student that has no terminal record."""
    ending = case.student.ending
    if ending and ending.attempt == case.student.attempt:
        cause = OWN_FAILURES.get(ending.reason)
        return Verdict(Sentence.FAILED, cause) if cause else Verdict(Sentence.RETURNED)
    if case.seen is None:
        return _gone(case)
    if case.seen.awaits_look:
        return _UNKNOWN
    if case.seen.disrupted:
        return Verdict(Sentence.FAILED, Cause.NODE)
    return _gone(case) if case.seen.standing is AttemptStanding.GONE else _by_exit_code(case, case.seen)


def _gone(case: Case) -> Verdict:
    if case.view is None:
        return _UNKNOWN
    if case.student.unreachable_seconds is not None:
        return Verdict(Sentence.FAILED, Cause.NODE)
    return _PARKED if _was_told_to_park(case) else Verdict(Sentence.FAILED, Cause.DELETED)


def _by_exit_code(case: Case, seen: AttemptSeen) -> Verdict:
    code = seen.exit_code
    if code in (ExitCode.DONE, ExitCode.PARKED) and case.view is None:
        return _UNKNOWN
    if code == ExitCode.DONE:
        return Verdict(Sentence.FAILED, Cause.EARLY)
    if code == ExitCode.PARKED and _was_told_to_park(case):
        return _PARKED
    if code is not None and _is_trusted_fatal(case, seen, code):
        return Verdict(Sentence.FATAL, reason=FATAL_REASONS.get(code, Reason.FATAL_EXIT))
    was_deleted = seen.deleted and code in _KILLED
    return Verdict(Sentence.FAILED, Cause.DELETED if was_deleted else Cause.CRASH)


def _was_told_to_park(case: Case) -> bool:
    return case.view is not None and case.view.parked_attempt == case.student.attempt


def _is_trusted_fatal(case: Case, seen: AttemptSeen, code: int) -> bool:
    """Fenced is no verdict on the current attempt: nobody is newer, so it merely crashed."""
    if not is_fatal(code) or code == ExitCode.FENCED:
        return False
    return not case.own_trainer or seen.recorded_exit_code == code
