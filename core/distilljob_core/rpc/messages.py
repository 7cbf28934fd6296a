"""The words of the exchange as protobuf messages and back."""

import math
from collections.abc import Mapping
from typing import Final

from distilljob_core.errors import BadFrame, ProtocolMismatch
from distilljob_core.exchange import (
    CloseRecord,
    Contribution,
    Identity,
    Joined,
    NeedRows,
    NotYet,
    Offer,
    Report,
    RoundKey,
    SplitShape,
)
from distilljob_core.names import PROTOCOL_VERSION
from distilljob_core.phases import StudentPhase
from distilljob_core.rpc import aggregator_pb2 as pb
from distilljob_core.softlabels.frames import Split

_SPLITS: Final = frozenset(Split)
_PHASES: Final = tuple(StudentPhase)
"""In the order of the protocol's numbers, which begin at 1."""


def round_to_message(key: RoundKey) -> pb.Round:
    """Name a round on the wire."""
    return pb.Round(cycle=key.cycle, split=pb.Split.Name(key.split))


def round_from_message(message: pb.Round) -> RoundKey:
    """Read a round's name; ProtocolMismatch for a split that this side does not know."""
    if int(message.split) not in _SPLITS:
        raise ProtocolMismatch(f"split {message.split} is unknown; upgrade the older side")
    return RoundKey(message.cycle, Split(message.split))


def join_to_message(who: Identity, splits: Mapping[Split, SplitShape], closed_seen: int) -> pb.JoinRequest:
    """Introduce one attempt of a student."""
    shapes = [
        pb.SplitShape(
            split=pb.Split.Name(split),
            num_rows=shape.num_rows,
            num_classes=shape.num_classes,
            fingerprint=shape.fingerprint,
        )
        for split, shape in splits.items()
    ]
    return pb.JoinRequest(
        protocol_version=PROTOCOL_VERSION,
        job_uid=who.job_uid,
        student=who.student,
        attempt=who.attempt,
        pod_uid=who.pod_uid,
        splits=shapes,
        closed_seen=closed_seen,
    )


def join_from_message(message: pb.JoinRequest) -> tuple[Identity, dict[Split, SplitShape]]:
    """Read an introduction; ProtocolMismatch when the other side speaks another version."""
    if message.protocol_version != PROTOCOL_VERSION:
        raise ProtocolMismatch(
            f"student {message.student} speaks protocol {message.protocol_version}, the aggregator "
            f"{PROTOCOL_VERSION}; run both from one release"
        )
    who = Identity(message.job_uid, message.student, message.attempt, message.pod_uid)
    splits = {
        Split(shape.split): SplitShape(shape.num_rows, shape.num_classes, shape.fingerprint)
        for shape in message.splits
        if int(shape.split) in _SPLITS
    }
    return who, splits


def joined_to_message(joined: Joined) -> pb.JoinReply:
    """Tell a student the plan."""
    return pb.JoinReply(
        token=joined.token,
        open=None if joined.open is None else round_to_message(joined.open),
        heartbeat_interval_seconds=joined.heartbeat_interval_seconds,
        students=joined.students,
        cycles=joined.cycles,
        codec=joined.codec,
        temperature=joined.temperature,
    )


def joined_from_message(message: pb.JoinReply) -> Joined:
    """Read the plan."""
    return Joined(
        token=message.token,
        open=round_from_message(message.open) if message.HasField("open") else None,
        heartbeat_interval_seconds=message.heartbeat_interval_seconds,
        students=tuple(message.students),
        cycles=message.cycles,
        codec=message.codec,
        temperature=message.temperature,
    )


def report_to_message(token: int, report: Report) -> pb.HeartbeatRequest:
    """Say where a student is."""
    return pb.HeartbeatRequest(
        token=token,
        phase=pb.Phase.Name(_PHASES.index(report.phase) + 1),
        cycle=report.cycle,
        epoch=report.epoch,
        planned_epochs=report.planned_epochs,
        step=report.step,
        progress=report.progress,
        samples_per_second=report.samples_per_second,
        loss=report.loss,
        accuracy=report.accuracy,
        teacher_gain=report.teacher_gain,
    )


def report_from_message(message: pb.HeartbeatRequest) -> Report:
    """Read where a student is.

    Raises:
        ProtocolMismatch: a phase that this side does not know.
        BadFrame: a number that is not finite.
    """
    if not 1 <= message.phase <= len(_PHASES):
        raise ProtocolMismatch(f"phase {message.phase} is unknown; upgrade the older side")
    return Report(
        phase=_PHASES[message.phase - 1],
        cycle=message.cycle,
        epoch=_finite("epoch", message.epoch),
        planned_epochs=message.planned_epochs,
        step=message.step,
        progress=message.progress,
        samples_per_second=_finite("samples_per_second", message.samples_per_second),
        loss=_finite("loss", message.loss) if message.HasField("loss") else None,
        accuracy={split: _finite("accuracy", value) for split, value in message.accuracy.items()},
        teacher_gain=_finite("teacher_gain", message.teacher_gain) if message.HasField("teacher_gain") else None,
    )


def offer_to_message(token: int, offer: Offer) -> pb.OpenRequest:
    """Announce soft labels."""
    return pb.OpenRequest(
        token=token,
        round=round_to_message(offer.round),
        weight=offer.weight,
        num_correct=offer.num_correct,
        holdout_size=offer.holdout_size,
        codec=offer.codec,
        source_digest=offer.source_digest,
        cross_entropy=offer.cross_entropy,
    )


def offer_from_message(message: pb.OpenRequest) -> Offer:
    """Read an announcement; BadFrame for a cross-entropy that is not finite."""
    return Offer(
        round=round_from_message(message.round),
        weight=message.weight,
        num_correct=message.num_correct,
        holdout_size=message.holdout_size,
        codec=message.codec,
        source_digest=message.source_digest,
        cross_entropy=_finite("cross_entropy", message.cross_entropy),
    )


def record_to_message(record: CloseRecord) -> pb.CloseRecord:
    """Tell what was decided about a round."""
    contributions = [
        pb.Contribution(
            student=part.student,
            weight=part.weight,
            num_correct=part.num_correct,
            holdout_size=part.holdout_size,
            source_digest=part.source_digest,
            cross_entropy=part.cross_entropy,
        )
        for part in record.contributions
    ]
    return pb.CloseRecord(
        round=round_to_message(record.round),
        contributions=contributions,
        weight_sum=record.weight_sum,
        uniform_fallback=record.uniform_fallback,
        codec=record.codec,
        last=record.last,
        missing_students=record.missing,
    )


def record_from_message(message: pb.CloseRecord) -> CloseRecord:
    """Read what was decided about a round."""
    contributions = tuple(
        Contribution(
            student=part.student,
            weight=part.weight,
            num_correct=part.num_correct,
            holdout_size=part.holdout_size,
            source_digest=part.source_digest,
            cross_entropy=part.cross_entropy,
        )
        for part in message.contributions
    )
    return CloseRecord(
        round=round_from_message(message.round),
        contributions=contributions,
        weight_sum=message.weight_sum,
        uniform_fallback=message.uniform_fallback,
        codec=message.codec,
        last=message.last,
        missing=tuple(message.missing_students),
    )


def open_to_message(answer: int | CloseRecord) -> pb.OpenReply:
    """Answer an announcement: the next row wanted, or that the round is closed."""
    if isinstance(answer, CloseRecord):
        return pb.OpenReply(closed=record_to_message(answer))
    return pb.OpenReply(next_row=answer)


def open_from_message(message: pb.OpenReply) -> int | CloseRecord:
    """Read the answer to an announcement."""
    return record_from_message(message.closed) if message.HasField("closed") else message.next_row


def wait_to_message(answer: CloseRecord | NeedRows | NotYet) -> pb.WaitReply:
    """Answer a wait."""
    if isinstance(answer, CloseRecord):
        return pb.WaitReply(closed=record_to_message(answer))
    if isinstance(answer, NeedRows):
        return pb.WaitReply(need_rows=pb.NeedRows(next_row=answer.next_row))
    return pb.WaitReply(not_yet=pb.NotYet(missing_students=answer.missing))


def wait_from_message(message: pb.WaitReply) -> CloseRecord | NeedRows | NotYet:
    """Read the answer to a wait."""
    if message.HasField("closed"):
        return record_from_message(message.closed)
    if message.HasField("need_rows"):
        return NeedRows(message.need_rows.next_row)
    return NotYet(tuple(message.not_yet.missing_students))


def _finite(field: str, value: float) -> float:
    """Refuse NaN and infinity: JSON has no word for them, so neither the journal nor the status could say them."""
    if not math.isfinite(value):
        raise BadFrame(f"{field} is {value}; it must be a finite number")
    return value
