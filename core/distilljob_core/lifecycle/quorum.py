"""Going on with fewer students: dropping one, and what the job can spare."""

from distilljob_core.conditions import Reason
from distilljob_core.lifecycle.draft import Draft, World
from distilljob_core.lifecycle.model import Standing


def drop(world: World, draft: Draft, name: str, reason: Reason, message: str) -> Draft:
    """Let a student leave the group for good; the job fails if it cannot spare it."""
    draft = draft.student(name, standing=Standing.DROPPED, backoff_until_seconds=None)
    draft = draft.tell("Warning", Reason.STUDENT_DROPPED, message, name)
    num_left = sum(student.standing is not Standing.DROPPED for _, student in draft.students())
    minimum = world.spec.quorum.minimum_students or len(world.names)
    if num_left >= minimum:
        return draft
    lost = f"{num_left} students are left, {minimum} are needed (quorum.minimumStudents); {reason}: {message}"
    return draft.fail(Reason.QUORUM_LOST, lost, world.now_seconds)


def leave_or_fail(world: World, draft: Draft, name: str, policy: str, reason: Reason, message: str) -> Draft:
    """Carry out onDivergence or onBudgetExhausted."""
    if policy == "DropStudent":
        return drop(world, draft, name, reason, message)
    return draft.fail(reason, f"student {name}: {message}", world.now_seconds)


def judge_overdue_round(world: World, draft: Draft) -> Draft:
    """Fail a job whose round passed its deadline without a quorum, if quorum.onLoss says so.

    Timed from when the round was first seen with a durable row; afresh after a restart of the aggregator, after a
    close, and whenever all that is missing is parked or waits for a place.
    """
    quorum, table = world.spec.quorum, world.seen.table
    if quorum.cycle_deadline_seconds is None or quorum.on_loss == "Wait" or table is None:
        return draft
    owing = {row.name for row in table.students if row.owes_rows}
    missing = [student for name, student in draft.in_play() if name in owing]
    num_in_time = sum(name not in owing for name, student in draft.students() if student.standing != Standing.DROPPED)
    has_rows = table.open is not None and any(row.rows_durable for row in table.students)
    waits_for_place = world.num_concurrent < len(world.names)
    is_timed = any(student.standing is Standing.LIVE or not waits_for_place for student in missing)
    if not (has_rows and is_timed) or num_in_time >= (quorum.minimum_students or len(world.names)):
        return draft.job(round_started_seconds=None)
    return _time_round(world, draft, quorum.cycle_deadline_seconds)


def _time_round(world: World, draft: Draft, deadline_seconds: float) -> Draft:
    starts = (draft.state.round_started_seconds, world.seen.aggregator.started_seconds, draft.state.last_close_seconds)
    start_seconds = max(since for since in (*starts, 0.0) if since is not None)
    if draft.state.round_started_seconds is None:
        start_seconds = world.now_seconds
    draft = draft.job(round_started_seconds=start_seconds)
    if world.now_seconds < start_seconds + deadline_seconds:
        return draft.wake(start_seconds + deadline_seconds)
    message = f"no quorum {deadline_seconds:.0f} s after the round's first rows (quorum.cycleDeadlineSeconds)"
    return draft.fail(Reason.QUORUM_LOST, message, world.now_seconds)
