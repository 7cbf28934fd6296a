"""The clock of a job: starting, suspending, and the deadlines of startup and activity."""

from dataclasses import replace
from typing import Final
from zlib import crc32

from distilljob_core.conditions import Reason
from distilljob_core.lifecycle.draft import Draft, World
from distilljob_core.lifecycle.model import EndReason, JobState, Standing
from distilljob_core.lifecycle.orders import end_all, recall_unseen
from distilljob_core.lifecycle.sights import num_to_join

STARTUP_TRIES: Final = 3
RELEASE_SPREAD_SECONDS: Final = 300.0


def active_seconds(state: JobState, now_seconds: float) -> float:
    """How long the job has been active; suspended time does not count."""
    if state.active_since_seconds is None:
        return state.active_seconds
    return state.active_seconds + now_seconds - state.active_since_seconds


def stop_clock(state: JobState, at_seconds: float) -> JobState:
    """Fold the running stretch of activity, and begin anew whatever only a running job is timed by."""
    return replace(
        state,
        active_since_seconds=None,
        active_seconds=active_seconds(state, at_seconds),
        startup_since_seconds=None,
        released_until_seconds=None,
        mass_hang=None,
        round_started_seconds=None,
    )


def keep_time(world: World, draft: Draft) -> Draft:
    """Start, stop and resume the job's clock."""
    state, now_seconds = draft.state, world.now_seconds
    if world.wishes.suspend:
        return draft if state.active_since_seconds is None else _stop(draft, now_seconds)
    if state.active_since_seconds is not None:
        return draft
    startup_since = None if state.quorum_joined else now_seconds
    draft = draft.job(active_since_seconds=now_seconds, startup_since_seconds=startup_since)
    if state.started_seconds is None:
        return draft.job(started_seconds=now_seconds)
    return draft.tell("Normal", Reason.RESUMED, "the job goes on")


def _stop(draft: Draft, now_seconds: float) -> Draft:
    draft = replace(draft, state=stop_clock(draft.state, now_seconds))
    return draft.tell("Normal", Reason.SUSPENDING, "students save and end")


def suspend(world: World, draft: Draft) -> Draft:
    """While suspended, end whatever lives; exact resume makes waiting for a boundary needless."""
    if not world.wishes.suspend:
        return draft
    return recall_unseen(world, end_all(world, draft, EndReason.SUSPENDED))


def check_active_deadline(world: World, draft: Draft) -> Draft:
    """Fail a job that has been active for too long."""
    limit_seconds = world.spec.active_deadline_seconds
    if limit_seconds is None or draft.state.active_since_seconds is None:
        return draft
    left_seconds = limit_seconds - active_seconds(draft.state, world.now_seconds)
    if left_seconds > 0:
        return draft.wake(world.now_seconds + left_seconds)
    message = f"active for {limit_seconds} s (activeDeadlineSeconds)"
    return draft.fail(Reason.DEADLINE_EXCEEDED, message, world.now_seconds)


def check_startup_deadline(world: World, draft: Draft) -> Draft:
    """Release everything when too few students have joined in time, and try again; in the end fail.

    Two jobs that each hold half of what both need would otherwise wait for each other for ever.
    """
    state = draft.state
    if state.released_until_seconds is not None:
        return _wait_after_release(world, draft, state.released_until_seconds)
    if state.quorum_joined or state.startup_since_seconds is None:
        return draft
    due_seconds = state.startup_since_seconds + world.spec.startup_deadline_seconds
    if world.now_seconds < due_seconds:
        return draft.wake(due_seconds)
    if world.seen.table is None and world.seen.aggregator.ready:
        return draft  # they may have joined: nobody can tell
    return _give_back(world, draft)


def _give_back(world: World, draft: Draft) -> Draft:
    num_tries = draft.state.startup_tries + 1
    joined = sum(student.joined_seconds is not None for _, student in draft.students())
    message = f"{joined} of {num_to_join(world, draft)} students joined within {world.spec.startup_deadline_seconds} s"
    draft = draft.job(startup_tries=num_tries, startup_since_seconds=None)
    if num_tries >= STARTUP_TRIES:
        message += f" (startupDeadlineSeconds), {num_tries} times over"
        return draft.fail(Reason.STARTUP_DEADLINE_EXCEEDED, message, world.now_seconds)
    until_seconds = world.now_seconds + _jitter_seconds(world, draft.state)
    draft = draft.job(released_until_seconds=until_seconds).wake(until_seconds)
    for name, student in draft.students():
        if student.standing is not Standing.PARKED:
            draft = draft.student(name, joined_seconds=None)
    draft = end_all(world, draft, EndReason.RELEASED)
    return draft.tell("Warning", Reason.RELEASED, f"{message}; all is given back and tried again")


def _wait_after_release(world: World, draft: Draft, until_seconds: float) -> Draft:
    if 0 < until_seconds - world.now_seconds <= RELEASE_SPREAD_SECONDS:
        draft = recall_unseen(world, end_all(world, draft, EndReason.RELEASED))
        return draft.wake(until_seconds)
    return draft.job(released_until_seconds=None, startup_since_seconds=world.now_seconds)


def _jitter_seconds(world: World, state: JobState) -> float:
    """A wait that differs from job to job and from try to try, and is the same each time it is asked for."""
    share = crc32(f"{state.uid}/{state.startup_tries}".encode()) / 2**32
    return share * min(RELEASE_SPREAD_SECONDS, world.spec.startup_deadline_seconds)
