"""Taking note of what is seen, before anything is decided by it."""

from dataclasses import replace
from typing import Any, Final, TypeVar

from distilljob_core.lifecycle.budget import credit
from distilljob_core.lifecycle.draft import Draft, World
from distilljob_core.lifecycle.model import JobState, Standing, StudentState
from distilljob_core.lifecycle.seen import AttemptStanding
from distilljob_core.phases import StudentPhase


def take_note(world: World, draft: Draft) -> Draft:
    """Bring the state up to what is seen: new pods, joins, closed rounds, blind spells, lost status."""
    state = _not_ahead_of(draft.state, world.now_seconds)
    is_released = state.released_until_seconds is not None
    known = {name: state.students.get(name, StudentState()) for name in world.names}
    noted = {name: _note_student(world, name, student, is_released) for name, student in known.items()}
    return _note_closes(world, Draft(replace(state, students=noted)))


def _note_student(world: World, name: str, student: StudentState, is_released: bool) -> StudentState:
    student = _forget_ended(world, name, student)
    student = _adopt(world, name, student)
    student = _note_pod(world, name, student)
    student = _note_table(world, name, student, is_released=is_released)
    longest = world.now_seconds + world.spec.failure_policy.backoff.max_seconds
    if student.backoff_until_seconds is not None:
        student = replace(student, backoff_until_seconds=min(student.backoff_until_seconds, longest))
    return student


def _forget_ended(world: World, name: str, student: StudentState) -> StudentState:
    """Forget an own ending that has come true, unless it is still to be judged."""
    ending = student.ending
    if ending is None or (student.standing is Standing.LIVE and ending.attempt == student.attempt):
        return student
    lives = any(seen.is_live and seen.attempt == ending.attempt for seen in world.attempts(name))
    return student if lives else replace(student, ending=None)


def _adopt(world: World, name: str, student: StudentState) -> StudentState:
    """Go on with an attempt that the state does not know: the state is older than the world."""
    newest = max(world.attempts(name), key=lambda seen: seen.attempt, default=None)
    if newest and newest.attempt > student.attempt and student.standing not in (Standing.DONE, Standing.DROPPED):
        return replace(
            student,
            standing=Standing.LIVE,
            attempt=newest.attempt,
            pod_uid=newest.pod_uid,
            asked_seconds=world.now_seconds,
            ending=None,
        )
    view = world.view(name)
    if view and view.attempt > student.attempt:
        return replace(student, attempt=view.attempt, pod_uid="")
    return student


def _note_pod(world: World, name: str, student: StudentState) -> StudentState:
    if student.standing is Standing.LIVE and not student.pod_uid:
        uids = [seen.pod_uid for seen in world.attempts(name) if seen.attempt == student.attempt and seen.pod_uid]
        student = replace(student, pod_uid=uids[0]) if uids else student
    current = world.current(name, student)
    if current is None or not current.is_live:
        return replace(student, sighted_seconds=None)
    silent = current.standing is AttemptStanding.UNREACHABLE
    sighted = world.reading(name, student).is_evidence
    return replace(
        student,
        unreachable_seconds=_since(student.unreachable_seconds, silent, world.now_seconds),
        sighted_seconds=_since(student.sighted_seconds, sighted, world.now_seconds),
    )


def _since(since_seconds: float | None, holds: bool, now_seconds: float) -> float | None:
    if not holds:
        return None
    return now_seconds if since_seconds is None else since_seconds


def _note_table(world: World, name: str, student: StudentState, *, is_released: bool) -> StudentState:
    view, table = world.view(name), world.seen.table
    if view is None or table is None:
        return student
    if view.phase is StudentPhase.DROPPED:
        return replace(student, standing=Standing.DROPPED)
    if view.attempt == student.attempt and student.joined_seconds is None and _counts(student) and not is_released:
        student = replace(student, joined_seconds=world.now_seconds)
    if student.unproven and view.summary is None:
        student = replace(student, unproven=())
    contributed = sum(name in close.contributors for close in table.closes if close.split == "train")
    return credit(world.spec.failure_policy, student, contributed)


def _counts(student: StudentState) -> bool:
    return student.standing in (Standing.LIVE, Standing.PARKED) and student.attempt > 0 and student.ending is None


def _note_closes(world: World, draft: Draft) -> Draft:
    table = world.seen.table
    if table and len(table.closes) > draft.state.num_closes:
        draft = draft.job(num_closes=len(table.closes), last_close_seconds=world.now_seconds)
    if draft.state.outcome:
        return draft
    joined = sum(student.joined_seconds is not None for _, student in draft.students())
    return draft.job(quorum_joined=draft.state.quorum_joined or joined >= num_to_join(world, draft))


def num_to_join(world: World, draft: Draft) -> int:
    """How many students must have joined before the job counts as started up."""
    num_left = sum(student.standing is not Standing.DROPPED for _, student in draft.students())
    return min(world.num_concurrent, world.spec.quorum.minimum_students or num_left, num_left)


_STUDENT_PAST: Final = ("asked_seconds", "sighted_seconds", "unreachable_seconds")
_JOB_PAST: Final = ("active_since_seconds", "startup_since_seconds", "last_close_seconds", "round_started_seconds")


def _not_ahead_of(state: JobState, now_seconds: float) -> JobState:
    """Pull back what a clock that has gone back left in the future, or waiting for it could take for ever."""
    students = {name: _pull_back(student, _STUDENT_PAST, now_seconds) for name, student in state.students.items()}
    for name, student in students.items():
        if student.ending:
            ending = replace(student.ending, asked_seconds=min(student.ending.asked_seconds, now_seconds))
            students[name] = replace(student, ending=ending)
    if state.mass_hang:
        since_seconds = min(state.mass_hang.since_seconds, now_seconds)
        state = replace(state, mass_hang=replace(state.mass_hang, since_seconds=since_seconds))
    return replace(_pull_back(state, _JOB_PAST, now_seconds), students=students)


_T = TypeVar("_T", JobState, StudentState)


def _pull_back(record: _T, names: tuple[str, ...], now_seconds: float) -> _T:
    ahead: dict[str, Any] = {
        name: now_seconds for name in names if (value := getattr(record, name)) is not None and value > now_seconds
    }
    return replace(record, **ahead) if ahead else record
