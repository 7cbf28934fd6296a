"""Judging the attempts that are over, and what becomes of their students."""

from dataclasses import replace
from typing import Final

from distilljob_core.conditions import Reason
from distilljob_core.lifecycle import budget
from distilljob_core.lifecycle.draft import Draft, World
from distilljob_core.lifecycle.model import Cause, EndReason, Manner, Standing, StudentState, Termination
from distilljob_core.lifecycle.orders import end, is_lost
from distilljob_core.lifecycle.quorum import leave_or_fail
from distilljob_core.lifecycle.seen import AttemptSeen, AttemptStanding
from distilljob_core.lifecycle.verdict import Case, Sentence, Verdict, has_record, judge

OUT_OF_MEMORY: Final = "OOMKilled"
MESSAGE_CHARACTERS: Final = 256
ELLIPSIS: Final = " …"

REASON_OF: Final = {
    Cause.CRASH: Reason.STUDENT_CRASHED,
    Cause.HANG: Reason.STUDENT_HUNG,
    Cause.EARLY: Reason.STUDENT_EXITED_EARLY,
    Cause.NODE: Reason.STUDENT_NODE_LOST,
    Cause.DELETED: Reason.STUDENT_DELETED,
}


def judge_all(world: World, draft: Draft) -> Draft:
    """Judge every attempt that is over, in spec order, and note every terminal record."""
    for name, _ in draft.in_play():
        draft = _note_joined(world, draft, name)
        student = draft.state.students[name]
        seen = world.current(name, student)
        if has_record(seen, world.view(name)):
            draft = _finish(world, draft, name)
        elif is_over(student, seen):
            case = Case(student, seen, world.view(name), name in world.own_trainers)
            draft = _apply(world, draft, name, seen, judge(case))
    return draft


def _note_joined(world: World, draft: Draft, name: str) -> Draft:
    """Learn from the aggregator that an attempt did run of which nothing was seen and nothing is left.

    Starting it again under its number would be in vain: the aggregator lets no second pod join as the same attempt.
    """
    student, view = draft.state.students[name], world.view(name)
    if view is None or view.attempt != student.attempt or not is_lost(world, name, student):
        return draft
    return draft.student(name, pod_uid=view.pod_uid)


def is_over(student: StudentState, seen: AttemptSeen | None) -> bool:
    """Whether the allotted attempt can do nothing any more: it has ended, or is gone after having been seen."""
    if student.standing is not Standing.LIVE:
        return False
    if seen:
        return not seen.is_live
    return bool(student.pod_uid) or is_being_ended(student)


def is_being_ended(student: StudentState) -> bool:
    """Whether we are ending the current attempt ourselves."""
    return student.ending is not None and student.ending.attempt == student.attempt


def _finish(world: World, draft: Draft, name: str) -> Draft:
    view, student = world.view(name), draft.state.students[name]
    if student.unproven and view and view.summary:
        student = budget.take_back(student, view.summary.attempt)
        draft = draft.student(name, restarts=student.restarts, account=student.account, unproven=())
    draft = draft.student(name, standing=Standing.DONE, done_seconds=world.now_seconds, backoff_until_seconds=None)
    return draft.tell("Normal", Reason.STUDENT_DONE, "its terminal record is durable", name)


def _apply(world: World, draft: Draft, name: str, seen: AttemptSeen | None, verdict: Verdict) -> Draft:
    if verdict.sentence is Sentence.UNKNOWN or _would_be_final(world, draft, name, verdict):
        return draft
    draft = close(world, draft, name, seen)
    if verdict.sentence is Sentence.PARKED:
        draft = draft.student(name, standing=Standing.PARKED)
        told = f"attempt {draft.state.students[name].attempt} is parked, its place is another student's"
        return draft.tell("Normal", Reason.STUDENT_PARKED, told, name)
    if verdict.cause:
        return _replace(world, draft, name, verdict.cause)
    if verdict.reason:
        return _fatal(world, draft, name, verdict.reason)
    return draft


def _would_be_final(world: World, draft: Draft, name: str, verdict: Verdict) -> bool:
    """Whether a failure has no restart left while nobody can say that the student is not done: that waits."""
    if verdict.cause is None or world.view(name) is not None:
        return False
    account = draft.state.students[name].account
    cause = budget.charged_cause(verdict.cause, account)
    return bool(budget.exhausted(world.spec.failure_policy, draft.state, account, cause))


def close(world: World, draft: Draft, name: str, seen: AttemptSeen | None) -> Draft:
    """Put an attempt that is over on record; its student is free for the next one."""
    student = draft.state.students[name]
    if seen is None or seen.standing is AttemptStanding.GONE:
        termination = Termination(student.attempt, None, "Gone", world.now_seconds, "nobody saw how it ended")
    else:
        ended_seconds = world.now_seconds if seen.ended_seconds is None else seen.ended_seconds
        message = cut_message(seen.message)
        termination = Termination(seen.attempt, seen.exit_code, seen.reason, ended_seconds, message)
    return draft.student(
        name,
        standing=Standing.IDLE,
        ending=None,
        sighted_seconds=None,
        unreachable_seconds=None,
        last_termination=termination,
    )


def cut_message(text: str, max_characters: int = MESSAGE_CHARACTERS) -> str:
    """Put a text on one line; a longer one than is kept ends at a space: half an address leads nowhere."""
    line = " ".join(text.split())
    if len(line) <= max_characters:
        return line
    room = max_characters - len(ELLIPSIS)
    space = line.rfind(" ", 0, room + 1)
    return line[: space if space > 0 else room] + ELLIPSIS


def _replace(world: World, draft: Draft, name: str, seen_cause: Cause) -> Draft:
    policy, student = world.spec.failure_policy, draft.state.students[name]
    cause = budget.charged_cause(seen_cause, student.account)
    told = describe_end(student, seen_cause)
    if empty := budget.exhausted(policy, draft.state, student.account, cause):
        message = f"{told}; no restarts are left: {empty}"
        return leave_or_fail(world, draft, name, policy.on_budget_exhausted, Reason.BUDGET_EXHAUSTED, message)
    account = budget.charge(student.account, cause)
    if student.last_termination and student.last_termination.reason == OUT_OF_MEMORY:
        account = replace(account, out_of_memory=account.out_of_memory + 1)
    wait_seconds = budget.restart_wait_seconds(policy, account, cause)
    if world.view(name) is None:
        student = budget.note_unproven(student, cause)
    draft = draft.student(
        name,
        account=account,
        restarts=budget.count_restart(student.restarts, cause),
        unproven=student.unproven,
        backoff_until_seconds=world.now_seconds + wait_seconds,
    )
    return draft.tell("Warning", REASON_OF[cause], f"{told}; next attempt in {wait_seconds:.0f} s", name)


def _fatal(world: World, draft: Draft, name: str, reason: Reason) -> Draft:
    message = describe_end(draft.state.students[name])
    if reason is Reason.STUDENT_DIVERGED:
        return leave_or_fail(world, draft, name, world.spec.failure_policy.on_divergence, reason, message)
    return draft.fail(reason, f"student {name}: {message}", world.now_seconds)


_TOLD: Final = {
    Cause.HANG: "hung",
    Cause.EARLY: "exited 0 without a terminal record",
    Cause.NODE: "was lost with its node",
    Cause.DELETED: "was gone before its end was seen",
}


def describe_end(student: StudentState, cause: Cause | None = None) -> str:
    """Say how the last attempt ended, with its own last words."""
    end = student.last_termination
    assert end is not None
    told = _TOLD.get(cause) if cause else None
    if cause is Cause.DELETED and end.exit_code is not None:
        told = "was deleted"
    told = told or (f"exited {end.exit_code}" if end.exit_code is not None else "ended")
    details = ", ".join(filter(None, (end.reason if end.exit_code != 0 else "", end.message)))
    return f"attempt {end.attempt} {told}" + (f" ({details})" if details and cause is not Cause.DELETED else "")


def end_lost_nodes(world: World, draft: Draft) -> Draft:
    """Give up, where the user opted in, on attempts whose node has been silent for too long."""
    patience_seconds = world.spec.failure_policy.node_lost.force_delete_after_seconds
    for name, student in draft.students():
        seen, since_seconds = world.current(name, student), student.unreachable_seconds
        given_up = student.ending is not None and student.ending.manner is Manner.FORCE
        if patience_seconds is None or seen is None or since_seconds is None or given_up:
            continue
        if world.now_seconds < since_seconds + patience_seconds:
            draft = draft.wake(since_seconds + patience_seconds)
            continue
        draft = end(world, draft, name, seen, EndReason.NODE_LOST, Manner.FORCE)
        message = f"attempt {seen.attempt} is given up, its node has been silent for {patience_seconds} s"
        draft = draft.tell("Warning", Reason.STUDENT_NODE_LOST, message, name)
    return draft
