"""What each event does to the state. Total: it refuses nothing, because events are facts."""

from collections.abc import Mapping
from dataclasses import replace
from functools import reduce as fold
from typing import Any

from distilljob_aggregator.rounds.events import (
    Admitted,
    Closed,
    Counted,
    Dropped,
    Event,
    Fetched,
    Finished,
    Opened,
    Parked,
    RowsDurable,
    Started,
    TeacherForgotten,
    TeacherStored,
    TimePassed,
    Unparked,
)
from distilljob_aggregator.rounds.state import State, Student, Upload
from distilljob_core.exchange import RoundKey
from distilljob_core.softlabels.frames import Split


def reduce(state: State, event: Event) -> State:  # noqa: C901 - one case an event; a table would only hide it
    """Give the state after one event."""
    match event:
        case Started():
            return replace(state, started_seconds=event.at_seconds)
        case Admitted():
            return _admit(state, event)
        case Opened():
            uploads = {**state.uploads, event.student: Upload(event.upload, event.offer)}
            state = replace(state, uploads=uploads, last_upload=event.upload)
            return _with_student(state, event.student, is_parked=False)
        case RowsDurable():
            return _advance(state, event)
        case TimePassed():
            return _pass_time(state, event.seconds)
        case Closed():
            return _close(state, event)
        case TeacherStored():
            return _begin_next(replace(state, stored=state.stored | {event.round}))
        case TeacherForgotten():
            key = event.round
            return replace(state, stored=state.stored - {key}, forgotten=state.forgotten | {key})
        case Fetched():
            return _with_student(state, event.student, fetched=event.round)
        case Parked():
            return _with_student(state, event.student, is_parked=True, parked_attempt=event.attempt)
        case Unparked():
            return _with_student(state, event.student, is_parked=False)
        case Dropped():
            return _drop(state, event)
        case Finished():
            state = replace(state, finished_seconds=event.at_seconds)
            return _with_student(state, event.student, summary=event.summary)
        case Counted():
            up, down = state.up_bytes + event.up_bytes, state.down_bytes + event.down_bytes
            return _with_waiting(replace(state, up_bytes=up, down_bytes=down), event.barrier_seconds)
        case _:  # Completed
            return replace(state, is_complete=True)


def replay(state: State, events: list[Event]) -> State:
    """Give the state after many events."""
    return fold(reduce, events, state)


def _with_student(state: State, name: str, **changes: Any) -> State:
    return replace(state, students={**state.students, name: replace(state.students[name], **changes)})


def _with_waiting(state: State, barrier_seconds: Mapping[str, float]) -> State:
    students = {
        name: replace(student, barrier_seconds=barrier_seconds.get(name, student.barrier_seconds))
        for name, student in state.students.items()
    }
    return replace(state, students=students)


def _admit(state: State, event: Admitted) -> State:
    before = state.students[event.student]
    fenced = before.fenced_pod_uids | ({before.pod_uid} if before.token else frozenset())
    admitted: Student = replace(
        before,
        attempt=event.attempt,
        pod_uid=event.pod_uid,
        token=event.token,
        fenced_pod_uids=fenced,
        is_parked=False,
        parked_attempt=None,
    )
    students = {**state.students, event.student: admitted}
    return replace(state, students=students, last_token=event.token, splits=state.splits or event.splits)


def _advance(state: State, event: RowsDurable) -> State:
    upload = state.uploads.get(event.student)
    if upload is None or upload.number != event.upload:
        return state
    return replace(state, uploads={**state.uploads, event.student: replace(upload, durable_rows=event.num_rows)})


def _pass_time(state: State, seconds: float) -> State:
    if state.active is None:
        return state
    waiting = {
        name: replace(student, barrier_seconds=student.barrier_seconds + seconds)
        for name, student in state.students.items()
        if student.is_running and state.has_all_rows(name)
    }
    has_begun = any(upload.durable_rows for upload in state.uploads.values())
    somebody_is_late = not all(state.waits_for_place(name) for name in state.missing())
    return replace(
        state,
        students={**state.students, **waiting},
        open_seconds=state.open_seconds + seconds,
        waited_seconds=state.waited_seconds + (seconds if has_begun else 0.0),
        deadline_seconds=state.deadline_seconds + (seconds if has_begun and somebody_is_late else 0.0),
    )


def _close(state: State, event: Closed) -> State:
    record = event.record
    contributors = {part.student for part in record.contributions}
    uploads = {name: upload for name, upload in state.uploads.items() if name in contributors}
    state = _with_waiting(state, event.barrier_seconds)
    return replace(state, uploads=uploads, closing=record, closes=(*state.closes, record))


def _begin_next(state: State) -> State:
    record = state.closing
    assert record is not None, "a teacher is stored for a closed round only"
    following: RoundKey | None = RoundKey(record.round.cycle + 1)
    if record.round.split is Split.EVALUATION:
        following = None
    elif record.last:
        following = RoundKey(record.round.cycle, Split.EVALUATION)
    return replace(
        state,
        active=following,
        closing=None,
        uploads={},
        open_seconds=0.0,
        waited_seconds=0.0,
        deadline_seconds=0.0,
    )


def _drop(state: State, event: Dropped) -> State:
    state = _with_student(state, event.student, is_dropped=True, is_parked=False, parked_attempt=None)
    if event.keeps_rows:
        return state
    return replace(state, uploads={name: upload for name, upload in state.uploads.items() if name != event.student})
