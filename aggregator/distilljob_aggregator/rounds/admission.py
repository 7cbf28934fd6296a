"""What a student may do: each question is answered from the state alone, with an error or with what follows."""

from collections.abc import Mapping
from typing import Final

from distilljob_aggregator.ensemble import check_weight, check_weight_sum
from distilljob_aggregator.rounds.events import Admitted, Opened, Unparked
from distilljob_aggregator.rounds.state import State, Student, Upload
from distilljob_core.errors import (
    Fenced,
    FingerprintMismatch,
    Mismatch,
    NotOpen,
    StateLost,
    TeacherGone,
    TeacherNotReady,
    UnknownStudent,
)
from distilljob_core.exchange import (
    SPLIT_NAMES,
    CloseRecord,
    Directive,
    Identity,
    NeedRows,
    NotYet,
    Offer,
    RoundKey,
    SplitShape,
)
from distilljob_core.phases import TRAINING_PHASES, StudentPhase
from distilljob_core.softlabels.frames import Split

_ALL_SPLITS: Final = frozenset(Split)


def join(
    state: State, who: Identity, splits: Mapping[Split, SplitShape], closed_seen: int, stride: int
) -> Admitted | None:
    """Admit an attempt; None when this very attempt has its token already.

    Args:
        state: the state now.
        who: the attempt.
        splits: what it trains on.
        closed_seen: the newest cycle whose close it has seen.
        stride: how far its token is above the last one, at random: should this journal be lost, its tokens are worth
            nothing in the next one, where a plain counter would give them to others.

    Raises:
        Mismatch: another job, or an introduction that says too little.
        UnknownStudent: no such student.
        Fenced: an attempt that is not the newest, or one of a dropped student.
        FingerprintMismatch: other data than the group's.
        StateLost: the student has seen a close that the journal does not know.
    """
    if who.job_uid != state.plan.uid:
        raise Mismatch(f"this is the aggregator of job {state.plan.uid}, not of {who.job_uid}")
    if who.student not in state.students:
        raise UnknownStudent(f"no student {who.student!r}; this job has {', '.join(state.plan.students)}")
    if who.attempt < 1 or not who.pod_uid:
        raise Mismatch(f"student {who.student} must give its attempt, from 1, and a UID of its own for this start")
    student = state.students[who.student]
    is_same = _check_newest(student, who)
    _check_splits(state, who.student, splits)
    newest = max((record.round.cycle for record in state.closes), default=0)
    if closed_seen > newest:
        raise StateLost(
            f"student {who.student} has seen cycle {closed_seen} closed, but the journal ends at cycle {newest}: "
            "the aggregator's state volume was lost or replaced; start the job anew"
        )
    token = state.last_token + stride
    return None if is_same else Admitted(who.student, who.attempt, who.pod_uid, token, dict(splits))


def _check_newest(student: Student, who: Identity) -> bool:
    """Say whether this attempt holds the token already; Fenced when it may never hold it (again)."""
    if student.is_dropped:
        raise Fenced(f"student {who.student} was dropped from the group")
    if who.pod_uid in student.fenced_pod_uids or who.attempt < student.attempt:
        raise Fenced(f"attempt {who.attempt} of {who.student} was replaced by attempt {student.attempt}")
    if who.attempt > student.attempt:
        return False
    if who.pod_uid != student.pod_uid:
        raise Fenced(f"attempt {who.attempt} of {who.student} is already running as {student.pod_uid}")
    return True


def _check_splits(state: State, student: str, splits: Mapping[Split, SplitShape]) -> None:
    if splits.keys() != _ALL_SPLITS or not all(shape.num_rows and shape.num_classes for shape in splits.values()):
        raise Mismatch(f"student {student} must describe a training and an evaluation set with rows and classes")
    for split, group in state.splits.items():
        own = splits[split]
        if own != group:
            raise FingerprintMismatch(
                f"student {student} has another {SPLIT_NAMES[split]} set than the group: "
                f"{own.num_rows} rows of {own.num_classes} classes, fingerprint {own.fingerprint}, against "
                f"{group.num_rows} rows of {group.num_classes} classes, fingerprint {group.fingerprint}"
            )


def holder(state: State, token: int) -> str:
    """Name the student that this token speaks for; Fenced when it is nobody's any more."""
    for name, student in state.students.items():
        if token > 0 and student.token == token:
            if student.is_dropped:
                raise Fenced(f"student {name} was dropped from the group; this attempt must stop")
            return name
    raise Fenced("a newer attempt of this student exists; this one must stop")


def directive(state: State, name: str) -> Directive:
    """Tell a student what to do: a parked one leaves while its round is open, not when the next one wants its rows."""
    may_leave = state.students[name].is_parked and name not in state.missing()
    return Directive.PARK if may_leave else Directive.GO_ON


def unpark(state: State, *, name: str, phase: StudentPhase) -> Unparked | None:
    """Note that a parked student did not leave before its round ended, and trains for the open one."""
    is_back = state.students[name].is_parked and phase in TRAINING_PHASES and name in state.missing()
    return Unparked(name) if is_back else None


def open_round(state: State, name: str, offer: Offer) -> Opened | Upload | CloseRecord:
    """Answer an announcement: it begins anew, goes on where it was, or comes too late.

    Raises:
        NotOpen: the round is not the open one, or the codec not the job's.
        TeacherNotReady: the round before it is still being stored.
        Mismatch: a weight that the rule does not allow.
        SpecError: weights too large for an exact sum.
    """
    record = state.record(offer.round)
    upload = state.uploads.get(name)
    if record is not None:
        return _open_closed(state, name, offer, record)
    if state.closing is not None:
        raise TeacherNotReady(f"the teacher of {state.closing.round} is still being stored")
    if offer.round != state.active:
        raise NotOpen(f"{offer.round} is not open; the open round is {state.active or 'none'}")
    if offer.codec != state.plan.codec:
        raise NotOpen(f"codec {offer.codec}; this job's is {state.plan.codec}")
    check_weight(state.plan.weights, offer.weight, num_correct=offer.num_correct, holdout_size=offer.holdout_size)
    others = {other: part.offer.weight for other, part in state.uploads.items()}
    check_weight_sum({**others, name: offer.weight})
    if upload is not None and upload.offer == offer:
        return upload
    return Opened(name, state.last_upload + 1, offer)


def _open_closed(state: State, name: str, offer: Offer, record: CloseRecord) -> Upload | CloseRecord:
    """Answer for a closed round. Until its teacher is stored, its contributors' rows may be wanted again."""
    upload = state.uploads.get(name)
    if state.closing is not record or upload is None:
        return record
    if upload.offer.source_digest == offer.source_digest:
        return upload
    if name in state.missing():
        raise Mismatch(f"{offer.round} was closed with other soft labels of {name}; these cannot replace them")
    return record


def accepts_rows(state: State, name: str) -> Upload:
    """Give the upload that a student's rows belong to; NotOpen when none are wanted."""
    upload = state.uploads.get(name)
    if upload is None or (state.closing is not None and name not in state.missing()):
        raise NotOpen(f"no rows of {name} are wanted now; call Open first")
    return upload


def wait(state: State, name: str, key: RoundKey) -> CloseRecord | NeedRows | NotYet:
    """Tell a waiting student how its round stands.

    Raises:
        TeacherGone: the round is closed and its teacher no longer kept.
        NotOpen: a round that this job does not have (yet).
    """
    record = state.record(key)
    if key in state.forgotten:
        raise TeacherGone(f"the teacher of {key} is no longer kept; raise spec.aggregator.teacherHistory")
    if record is not None and key in state.stored:
        return record
    if key != state.active:
        raise NotOpen(f"{key} is not open; the open round is {state.active or 'none'}")
    if name in state.missing():
        upload = state.uploads.get(name)
        return NeedRows(0 if upload is None else upload.durable_rows)
    return NotYet(state.missing())


def fetch(state: State, name: str, key: RoundKey) -> CloseRecord:
    """Allow a student to read a teacher; gives its record.

    Raises:
        TeacherGone: it is no longer kept.
        TeacherNotReady: the round is closed and its teacher not stored yet.
        NotOpen: the round is not closed, or it is the student's rows that its teacher waits for.
    """
    answer = state.record(key)
    if key in state.forgotten:
        raise TeacherGone(f"the teacher of {key} is no longer kept; raise spec.aggregator.teacherHistory")
    if answer is None:
        raise NotOpen(f"{key} is not closed; wait for it")
    if answer is state.closing and name in state.missing():
        raise NotOpen(f"rows of {name} for {key} were damaged on the aggregator's disk; call Open again")
    if key not in state.stored:
        raise TeacherNotReady(f"the teacher of {key} is being made")
    return answer
