"""How a job ends, and what still has to leave then."""

from dataclasses import replace
from typing import Final

from distilljob_core.conditions import Reason
from distilljob_core.lifecycle.deadlines import stop_clock
from distilljob_core.lifecycle.draft import Draft, World
from distilljob_core.lifecycle.model import EndReason, Manner, Outcome, Standing
from distilljob_core.lifecycle.orders import end, end_all, recall_unseen
from distilljob_core.lifecycle.restarts import close, is_over
from distilljob_core.lifecycle.verdict import FATAL_REASONS

LEAVE_SECONDS: Final = 600.0


def check_state_lost(world: World, draft: Draft) -> Draft:
    """Fail a job whose aggregator has forgotten closed rounds: no student could go on from there."""
    table = world.seen.table
    if table is None or len(table.closes) >= draft.state.num_closes:
        return draft
    message = (
        f"the aggregator knows {len(table.closes)} closed rounds and knew {draft.state.num_closes}: "
        "restore its state volume, or delete the job and start over"
    )
    return draft.fail(Reason.AGGREGATOR_STATE_LOST, message, world.now_seconds)


def check_aggregator(world: World, draft: Draft) -> Draft:
    """Fail a job whose aggregator ended with what a restart cannot cure; it is started again after anything else."""
    aggregator = world.seen.aggregator
    if aggregator.fatal_exit_code is None:
        return draft
    reason = FATAL_REASONS.get(aggregator.fatal_exit_code, Reason.FATAL_EXIT)
    return draft.fail(reason, f"the aggregator {aggregator.message}", world.now_seconds)


def check_complete(world: World, draft: Draft) -> Draft:
    """Complete a job when every student that was not dropped has its terminal record, and the result is written."""
    table = world.seen.table
    if table is None or not table.complete or any(draft.in_play()):
        return draft
    dropped = [name for name, student in draft.students() if student.standing is Standing.DROPPED]
    reason = Reason.QUORUM_DONE if dropped else Reason.ALL_STUDENTS_DONE
    message = f"all students are done but {', '.join(dropped)}" if dropped else "all students are done"
    draft = draft.job(outcome=Outcome("Complete", reason, message, world.now_seconds))
    return draft.tell("Normal", reason, message)


def see_off(world: World, draft: Draft) -> Draft:
    """End the attempts of students that have left the group, and of finished ones that do not leave by themselves."""
    for name, student in draft.students():
        live = world.live(name)
        if live is None:
            continue
        if student.standing is Standing.DROPPED:
            draft = end(world, draft, name, live, EndReason.DROPPED, Manner.GRACEFUL)
        elif student.done_seconds is not None and world.now_seconds >= student.done_seconds + LEAVE_SECONDS:
            draft = end(world, draft, name, live, EndReason.FINISHED, Manner.GRACEFUL)
        elif student.done_seconds is not None:
            draft = draft.wake(student.done_seconds + LEAVE_SECONDS)
    return draft


def wind_down(world: World, draft: Draft) -> Draft:
    """After the end: fold the time, and let everything leave."""
    draft = replace(draft, state=stop_clock(draft.state, world.now_seconds))
    if draft.state.outcome and draft.state.outcome.kind == "Failed":
        draft = end_all(world, draft, EndReason.JOB_ENDED)
    for name, student in draft.students():
        seen = world.current(name, student)
        if is_over(student, seen):
            draft = close(world, draft, name, seen)
    return recall_unseen(world, draft)


def aggregator_wanted(world: World, draft: Draft) -> bool:
    """The aggregator leaves last: not before every attempt is gone, or has had its time to go."""
    outcome = draft.state.outcome
    if not outcome and not world.wishes.suspend:
        return True
    lives = any(world.live(name) or student.standing is Standing.LIVE for name, student in draft.students())
    return lives and (outcome is None or world.now_seconds < outcome.time_seconds + LEAVE_SECONDS)
