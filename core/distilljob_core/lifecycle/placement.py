"""Whose turn it is when not all students have a place at once.

First those that must send rows again, then those that owe the open round, then those behind a closed round, then the
rest that is not parked; in spec order. Coming back from a park is a new attempt, never a restart.
"""

from typing import Final

from distilljob_core.lifecycle.draft import Draft, World
from distilljob_core.lifecycle.model import Standing, StudentState
from distilljob_core.lifecycle.orders import start_next
from distilljob_core.phases import StudentPhase

NEEDS_ROWS: Final = 0
OWES_ROWS: Final = 1
BEHIND: Final = 2
REST: Final = 3


def turn(world: World, name: str, student: StudentState) -> int | None:
    """Rank a student that has no attempt; None = it has nothing to do now, or nobody can tell."""
    view, table = world.view(name), world.seen.table
    if view is None or table is None:
        return None if student.standing is Standing.PARKED else REST
    if view.phase is StudentPhase.NEEDS_ROWS:
        return NEEDS_ROWS
    if view.owes_rows:
        return OWES_ROWS
    if view.behind:
        return BEHIND
    return None if student.standing is Standing.PARKED and table.open else REST


def place(world: World, draft: Draft) -> Draft:
    """Start as many waiting students as there are places."""
    num_free = world.num_concurrent - sum(_holds_place(world, name, student) for name, student in draft.students())
    queue = []
    for index, (name, student) in enumerate(draft.in_play()):
        rank = turn(world, name, student)
        if rank is None or _holds_place(world, name, student):
            continue
        if student.backoff_until_seconds is not None and student.backoff_until_seconds > world.now_seconds:
            draft = draft.wake(student.backoff_until_seconds)
            continue
        queue.append((rank, index, name))
    for _, _, name in sorted(queue)[: max(num_free, 0)]:
        draft = start_next(world, draft, name)
    return draft


def _holds_place(world: World, name: str, student: StudentState) -> bool:
    """Whether an attempt may be alive, seen or not: the next one starts only when the old one is proven gone."""
    return student.standing is Standing.LIVE or world.live(name) is not None or student.ending is not None
