"""Starting and ending attempts, and giving an order again that was not obeyed.

An order may be lost between the state and the deed, so it is given again: at once if it is older than the watcher
itself, else after a while. Both orders are no-ops when they have been carried out.
"""

from dataclasses import replace
from typing import Final

from distilljob_core.conditions import Reason
from distilljob_core.lifecycle.draft import Draft, World
from distilljob_core.lifecycle.model import End, Ending, EndReason, Manner, Standing, Start, StudentState
from distilljob_core.lifecycle.seen import AttemptSeen

REPEAT_SECONDS: Final = 30.0


def start_next(world: World, draft: Draft, name: str) -> Draft:
    """Allot and order a student's next attempt; every number ever seen has been taken note of."""
    attempt = draft.state.students[name].attempt + 1
    draft = draft.student(
        name,
        standing=Standing.LIVE,
        attempt=attempt,
        pod_uid="",
        asked_seconds=world.now_seconds,
        backoff_until_seconds=None,
    )
    return draft.act(Start(name, attempt)).tell("Normal", Reason.STUDENT_STARTED, f"attempt {attempt}", name)


def end(world: World, draft: Draft, name: str, seen: AttemptSeen, reason: EndReason, manner: Manner) -> Draft:
    """Order the end of an attempt and mark it as our own; a more pressing manner replaces a milder one."""
    before = draft.state.students[name].ending
    if before and before.attempt == seen.attempt and (before.manner is manner or manner is not Manner.FORCE):
        return draft
    ending = Ending(seen.attempt, reason, manner, world.now_seconds)
    return draft.student(name, ending=ending).act(End(name, seen.attempt, reason, manner))


def end_all(world: World, draft: Draft, reason: EndReason) -> Draft:
    """Order the graceful end of everything that lives."""
    for name in world.names:
        if live := world.live(name):
            draft = end(world, draft, name, live, reason, Manner.GRACEFUL)
    return draft


def repeat(world: World, draft: Draft) -> Draft:
    """Give orders again that were lost or not obeyed."""
    for name, student in draft.students():
        ending = student.ending
        if ending and _is_due(world, ending.asked_seconds):
            draft = draft.student(name, ending=replace(ending, asked_seconds=world.now_seconds))
            draft = draft.act(End(name, ending.attempt, ending.reason, ending.manner))
        elif not ending and is_lost(world, name, student):
            draft = draft.student(name, asked_seconds=world.now_seconds).act(Start(name, student.attempt))
    return _wakes(world, draft)


def end_unwanted(world: World, draft: Draft) -> Draft:
    """End attempts that the user wants to be over; of one that runs, whatever shows why stays."""
    for name, student in draft.in_play():
        seen = world.current(name, student)
        if seen is None or not seen.is_live or student.ending or student.standing is not Standing.LIVE:
            continue
        if student.attempt <= world.wishes.restarts.get(name, 0):
            manner = Manner.KEEP_EVIDENCE if world.is_running(name, student) else Manner.GRACEFUL
            draft = end(world, draft, name, seen, EndReason.RESTARTED, manner)
            draft = draft.tell("Normal", Reason.STUDENT_RESTARTED, f"attempt {student.attempt} is ended", name)
    return draft


def end_strays(world: World, draft: Draft) -> Draft:
    """End what the job does not go on with: an attempt of another number, or one whose student waits."""
    for name, student in draft.in_play():
        own = student.attempt if student.standing is Standing.LIVE else None
        stray = next((seen for seen in world.attempts(name) if seen.is_live and seen.attempt != own), None)
        if stray is None or student.ending:
            continue
        draft = end(world, draft, name, stray, EndReason.STRAY, Manner.GRACEFUL)
        draft = draft.tell("Warning", Reason.STUDENT_STRAY_ENDED, f"attempt {stray.attempt}", name, stray.attempt)
    return draft


def recall_unseen(world: World, draft: Draft) -> Draft:
    """Take back orders to start that nothing came of, for when nothing may start; the attempt's number is used up."""
    for name, student in draft.students():
        if is_lost(world, name, student):
            draft = draft.student(name, standing=Standing.IDLE, asked_seconds=None)
    return draft


def is_lost(world: World, name: str, student: StudentState) -> bool:
    """Whether an order to start has had its time, and nothing came of it that could be seen."""
    return _is_unseen(world, name, student) and _is_due(world, _waited_since_seconds(world, student))


def _waited_since_seconds(world: World, student: StudentState) -> float:
    """From when on something must be seen of an order to start.

    What came of an older watcher's order may be gone already. Only the aggregator knows whether it joined, and lets no
    second pod join under its number, so its word is waited for, and not for ever.
    """
    asked_seconds = student.asked_seconds or 0.0
    if world.seen.table is not None or not world.seen.aggregator.exists:
        return asked_seconds
    return max(asked_seconds, min(world.seen.watching_since_seconds, world.now_seconds))


def _is_unseen(world: World, name: str, student: StudentState) -> bool:
    if student.standing is not Standing.LIVE or student.pod_uid:
        return False
    return all(seen.attempt != student.attempt for seen in world.attempts(name))


def _is_due(world: World, asked_seconds: float) -> bool:
    watching_since = min(world.seen.watching_since_seconds, world.now_seconds)
    return asked_seconds < watching_since or world.now_seconds - asked_seconds >= REPEAT_SECONDS


def _wakes(world: World, draft: Draft) -> Draft:
    for name, student in draft.students():
        if student.ending:
            draft = draft.wake(student.ending.asked_seconds + REPEAT_SECONDS)
        elif _is_unseen(world, name, student):
            draft = draft.wake(_waited_since_seconds(world, student) + REPEAT_SECONDS)
    return draft
