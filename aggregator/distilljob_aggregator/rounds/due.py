"""What is due: read from the state alone, so that it is the same after a restart."""

from dataclasses import dataclass

from distilljob_aggregator.rounds.events import Closed, Dropped, Parked, TeacherForgotten
from distilljob_aggregator.rounds.state import State
from distilljob_core.exchange import CloseRecord, Contribution, RoundKey
from distilljob_core.softlabels.frames import Split


@dataclass(frozen=True, slots=True)
class Wishes:
    """What may change while a job runs: the content of the control file."""

    stop_after_cycle: int | None = None
    dropped: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class StoreTeacher:
    """All rows of a closed round are here: make its teacher and store it; then it is TeacherStored."""

    record: CloseRecord


@dataclass(frozen=True, slots=True)
class RowsLost:
    """Nobody can bring the rows that a closed round lacks: their students were dropped. No round can follow."""

    round: RoundKey
    students: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WriteResults:
    """The last terminal record is durable: write the job's results; then it is Completed."""


Due = Dropped | Closed | StoreTeacher | RowsLost | TeacherForgotten | Parked | WriteResults


def next_due(state: State, wishes: Wishes) -> Due | None:
    """Say what to do next: an event to journal, or work that leads to one. None: nothing until something happens."""
    return (
        _drop(state, wishes)
        or _store(state)
        or _close(state, wishes)
        or _forget(state)
        or _park(state)
        or (WriteResults() if _is_finished(state) and not state.is_complete else None)
    )


def _drop(state: State, wishes: Wishes) -> Dropped | None:
    for name in state.plan.students:
        if name in wishes.dropped and state.students[name].is_expected:
            return Dropped(name, keeps_rows=state.closing is not None or state.has_all_rows(name))
    return None


def _store(state: State) -> StoreTeacher | RowsLost | None:
    if state.closing is None:
        return None
    lost = tuple(name for name in state.missing() if state.students[name].is_dropped)
    if lost:
        return RowsLost(state.closing.round, lost)
    return None if state.missing() else StoreTeacher(state.closing)


def _close(state: State, wishes: Wishes) -> Closed | None:
    """A round closes with every student, or at its deadline with the quorum. Nobody is in it in part."""
    if state.active is None or state.closing is not None:
        return None
    complete = tuple(name for name in state.plan.students if state.has_all_rows(name))
    missing = state.missing()
    if not complete or (missing and not _may_close_short(state, len(complete))):
        return None
    return Closed(_record(state, complete, missing, wishes), state.barrier_seconds())


def _may_close_short(state: State, num_complete: int) -> bool:
    plan = state.plan
    if plan.minimum_students is None or plan.cycle_deadline_seconds is None:
        return False
    return num_complete >= plan.minimum_students and state.deadline_seconds >= plan.cycle_deadline_seconds


def _record(state: State, complete: tuple[str, ...], missing: tuple[str, ...], wishes: Wishes) -> CloseRecord:
    assert state.active is not None
    contributions = tuple(Contribution.of(name, state.uploads[name].offer) for name in complete)
    weight_sum = sum(part.weight for part in contributions)
    key = state.active
    return CloseRecord(
        round=key,
        contributions=contributions,
        weight_sum=weight_sum or len(contributions),
        uniform_fallback=weight_sum == 0,
        codec=state.plan.codec,
        last=key.split is Split.EVALUATION or state.plan.is_last(key.cycle, wishes.stop_after_cycle),
        missing=missing,
    )


def _forget(state: State) -> TeacherForgotten | None:
    """Training teachers beyond the history go, oldest first; the evaluation round's stays."""
    kept = sorted(key for key in state.stored if key.split is Split.TRAIN)
    history = state.plan.teacher_history
    return TeacherForgotten(kept[0]) if history is not None and len(kept) > history else None


def _park(state: State) -> Parked | None:
    """A student that has brought all its rows makes room for one that waits for a place and owes rows."""
    if state.plan.maximum_concurrent is None:
        return None
    running, missing = state.running(), state.missing()
    num_waiting = sum(state.waits_for_place(name) for name in missing)
    if num_waiting <= state.plan.maximum_concurrent - len(running):
        return None
    for name in running:
        if name not in missing:
            student = state.students[name]
            return Parked(name, student.attempt, student.pod_uid)
    return None


def _is_finished(state: State) -> bool:
    """Everybody who was not dropped has left its terminal record, in time for the evaluation round or late."""
    students = state.students.values()
    is_over = state.active is None
    return is_over and any(student.summary for student in students) and not any(one.is_expected for one in students)
