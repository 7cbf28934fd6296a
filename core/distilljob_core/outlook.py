"""What can be told of a job from its memory and the round table: for people, and never a ground to act on."""

from typing import Final

from distilljob_core.lifecycle.model import Standing, StudentState
from distilljob_core.phases import StudentPhase
from distilljob_core.round_table import RoundTable, StudentView

QUEUED: Final = "Queued"
BACK_OFF: Final = "BackOff"
ENDING: Final = "Ending"
NOT_AT_WORK: Final = frozenset(
    {
        QUEUED,
        BACK_OFF,
        ENDING,
        StudentPhase.PARKED.value,
        StudentPhase.NEEDS_ROWS.value,
        StudentPhase.FINISHED.value,
        StudentPhase.DROPPED.value,
    }
)
"""Words of `doing` for a student whose attempt is over, or about to be."""


def doing(student: StudentState, view: StudentView | None, now_seconds: float) -> str:
    """Say in a word what a student does: a phase of the protocol, or what keeps it from having one."""
    if student.standing is Standing.DONE:
        return StudentPhase.FINISHED.value
    if student.standing is Standing.IDLE:
        return BACK_OFF if (student.backoff_until_seconds or 0.0) > now_seconds else QUEUED
    if student.standing is not Standing.LIVE:
        return student.standing.value
    if student.ending is not None and student.ending.attempt == student.attempt:
        return ENDING
    if view is None or view.attempt < student.attempt:
        return StudentPhase.STARTING.value
    return view.phase.value


def open_cycle(table: RoundTable | None, cycles: int) -> int:
    """Number the training cycle that is open, or the last one there was."""
    closes = [close for close in table.closes if close.split == "train"] if table else []
    if not closes:
        return 1
    return closes[-1].cycle if closes[-1].last else min(cycles, closes[-1].cycle + 1)


def seconds_left(view: StudentView, goal_epochs: int, active_seconds: float) -> float | None:
    """Tell how long a student still needs at the pace it has kept so far: epochs by all the time the job was active.

    That time holds waiting, turns and restarts too, so the pace is the one it will keep. None = nobody can tell yet.
    """
    if view.summary is not None:
        return 0.0
    if view.epoch <= 0:
        return None
    return active_seconds * max(0.0, goal_epochs - view.epoch) / view.epoch
