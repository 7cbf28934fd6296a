"""From what is seen, wanted and remembered to what happens now."""

from collections.abc import Callable
from typing import Final

from distilljob_core.lifecycle import deadlines, ends, hang, orders, placement, quorum, restarts
from distilljob_core.lifecycle.draft import Draft, World, look
from distilljob_core.lifecycle.model import Control, Decision, End, JobState, Standing
from distilljob_core.lifecycle.report import report
from distilljob_core.lifecycle.seen import Seen, Wishes
from distilljob_core.lifecycle.sights import take_note
from distilljob_core.spec.job import DistillJobSpec


def place(world: World, draft: Draft) -> Draft:
    """Start students, while the job is neither suspended nor released."""
    if world.wishes.suspend or draft.state.released_until_seconds is not None:
        return draft
    return placement.place(world, draft)


Policy = Callable[[World, Draft], Draft]

RUNNING: Final[tuple[Policy, ...]] = (
    ends.check_state_lost,
    ends.check_aggregator,
    restarts.judge_all,
    ends.check_complete,
    deadlines.keep_time,
    deadlines.suspend,
    deadlines.check_active_deadline,
    deadlines.check_startup_deadline,
    quorum.judge_overdue_round,
    restarts.end_lost_nodes,
    hang.end_hung,
    orders.end_unwanted,
    ends.see_off,
    orders.end_strays,
    place,
    orders.repeat,
)
ENDED: Final[tuple[Policy, ...]] = (
    ends.wind_down,
    restarts.end_lost_nodes,
    ends.see_off,
    orders.end_strays,
    orders.repeat,
)


def decide(spec: DistillJobSpec, wishes: Wishes, seen: Seen, state: JobState, now_seconds: float) -> Decision:
    """Decide what happens next.

    The same sight and the state that this gave decide nothing new; an outcome, once there, never changes.

    Args:
        spec: what is wanted. Failure policy, TTL and active deadline may change while the job runs.
        wishes: suspension, an early end, restarts.
        seen: the world as it is now.
        state: what the last decision left, or `JobState(uid)` at the very start.
        now_seconds: the watcher's clock.
    """
    world = look(spec, wishes, seen, now_seconds)
    draft = take_note(world, Draft(state))
    for policy in RUNNING:
        if draft.state.outcome:
            break
        draft = policy(world, draft)
    if draft.state.outcome:
        for policy in ENDED:
            draft = policy(world, draft)
    return _decision(world, report(world, draft))


def _decision(world: World, draft: Draft) -> Decision:
    dropped = tuple(name for name, student in draft.students() if student.standing is Standing.DROPPED)
    later = [wake for wake in draft.wakes if wake > world.now_seconds]
    return Decision(
        state=draft.state,
        actions=tuple(sorted(draft.actions, key=lambda action: not isinstance(action, End))),
        control=Control(world.wishes.stop_after_cycle, dropped),
        aggregator_wanted=ends.aggregator_wanted(world, draft),
        events=draft.events,
        next_wake_seconds=min(later, default=None),
    )
