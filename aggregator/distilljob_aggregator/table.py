"""The round table: what the state and the students' own reports say, for /v1/status and the metrics."""

from typing import Final, Literal

from distilljob_aggregator.live import Live, Sighting
from distilljob_aggregator.rounds.state import State
from distilljob_core.exchange import CloseRecord, Report
from distilljob_core.phases import StudentPhase
from distilljob_core.round_table import CloseView, RoundTable, RoundView, StudentView
from distilljob_core.softlabels.frames import Split

SILENT_SECONDS: Final = 15.0
"""A student that was told to park and is silent for this long has left."""

_SPLIT_WORDS: Final[dict[Split, Literal["train", "evaluation"]]] = {
    Split.TRAIN: "train",
    Split.EVALUATION: "evaluation",
}
_UNHEARD: Final = Sighting(Report(StudentPhase.STARTING), 0.0, 0.0)


def round_table(
    state: State,
    live: Live,
    *,
    now_seconds: float,
    process_started_seconds: float,
    storage_full: Literal["Results", "State"] | None,
) -> RoundTable:
    """Lay out the table; times are the aggregator's own, see SteadyClock."""
    return RoundTable(
        job=state.plan.job,
        uid=state.plan.uid,
        clock_timestamp_seconds=now_seconds,
        started_timestamp_seconds=process_started_seconds,
        cycles=state.plan.cycles,
        open=_round_view(state),
        closes=[_close_view(record) for record in state.closes],
        students=[_student_view(state, live, name, now_seconds) for name in state.plan.students],
        complete=state.is_complete,
        storage_full=storage_full,
    )


def _round_view(state: State) -> RoundView | None:
    if state.active is None:
        return None
    return RoundView(cycle=state.active.cycle, split=_SPLIT_WORDS[state.active.split], open_seconds=state.open_seconds)


def _close_view(record: CloseRecord) -> CloseView:
    return CloseView(
        cycle=record.round.cycle,
        split=_SPLIT_WORDS[record.round.split],
        contributors=[part.student for part in record.contributions],
        weights=list(record.weights_used()),
        missing=list(record.missing),
        last=record.last,
    )


def _student_view(state: State, live: Live, name: str, now_seconds: float) -> StudentView:
    student = state.students[name]
    sighting = live.of(name) or _UNHEARD
    report = sighting.report
    upload = state.uploads.get(name)
    return StudentView(
        name=name,
        phase=_phase(state, name, sighting, now_seconds),
        attempt=student.attempt,
        pod_uid=student.pod_uid,
        ever_joined=student.attempt > 0,
        cycle=report.cycle,
        epoch=report.epoch,
        planned_epochs=report.planned_epochs,
        step=report.step,
        loss=report.loss,
        accuracy=report.accuracy,
        teacher_gain=report.teacher_gain,
        samples_per_second=report.samples_per_second,
        rows_durable=0 if upload is None else upload.durable_rows,
        rows_total=0 if state.active is None else state.num_rows(state.active),
        barrier_seconds=student.barrier_seconds,
        last_heartbeat_timestamp_seconds=sighting.heartbeat_seconds,
        last_progress_timestamp_seconds=sighting.progress_seconds,
        parked_attempt=student.parked_attempt,
        owes_rows=student.is_expected and name in state.missing(),
        behind=student.is_expected and _is_behind(state, name),
        summary=student.summary,
    )


def _is_behind(state: State, name: str) -> bool:
    fetched = state.students[name].fetched
    return any(fetched is None or key > fetched for key in state.stored)


def _phase(state: State, name: str, sighting: Sighting, now_seconds: float) -> StudentPhase:
    """The state's word where it has one, else the student's own.

    A student that was told to park shows its own phase until it has left, so that one that hangs on its way out is
    still noticed.
    """
    student = state.students[name]
    if student.is_dropped:
        return StudentPhase.DROPPED
    if student.summary is not None:
        return StudentPhase.FINISHED
    if student.is_parked:
        has_left = now_seconds - sighting.heartbeat_seconds > SILENT_SECONDS
        if has_left or sighting.report.phase is StudentPhase.PARKED:
            lost_rows = name in state.uploads and not state.has_all_rows(name)
            return StudentPhase.NEEDS_ROWS if lost_rows else StudentPhase.PARKED
    return sighting.report.phase
