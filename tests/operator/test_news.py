"""What of a look at an aggregator wakes its job, and what does not."""

from dataclasses import replace

import pytest

from distilljob_core.phases import StudentPhase
from distilljob_core.progress import Progress, Sight, SightReason, StudentSamples
from distilljob_core.round_table import CloseView, RoundTable, RoundView, StudentView
from distilljob_operator.progress.look import Look
from distilljob_operator.progress.news import news

SAMPLES = StudentSamples(1, "pod", StudentPhase.DISTILLING, 3.0, 1.0)
PROGRESS = Progress(Sight.VALUE, SightReason.FRESH, "", {"a": SAMPLES})
VIEW = StudentView(
    name="a",
    phase=StudentPhase.DISTILLING,
    attempt=1,
    pod_uid="pod",
    ever_joined=True,
    cycle=1,
    epoch=1.5,
    planned_epochs=4,
    step=10,
    loss=0.5,
    accuracy={"holdout": 0.5},
    teacher_gain=None,
    samples_per_second=10.0,
    rows_durable=0,
    rows_total=100,
    barrier_seconds=0.0,
    last_heartbeat_timestamp_seconds=100.0,
    last_progress_timestamp_seconds=100.0,
    parked_attempt=None,
    owes_rows=False,
    behind=False,
    summary=None,
)
CLOSE = CloseView(cycle=1, split="train", contributors=["a"], weights=[1], missing=[], last=False)
TABLE = RoundTable(
    job="group",
    uid="uid",
    clock_timestamp_seconds=100.0,
    started_timestamp_seconds=1.0,
    cycles=2,
    open=RoundView(cycle=1, split="train", open_seconds=5.0),
    closes=[],
    students=[VIEW],
    complete=False,
    storage_full=None,
)
LOOK = Look(10.0, PROGRESS, 10.0, 10.0, 30.0, TABLE)


def with_view(**changes) -> Look:
    return replace(LOOK, table=TABLE.model_copy(update={"students": [VIEW.model_copy(update=changes)]}))


def with_table(**changes) -> Look:
    return replace(LOOK, table=TABLE.model_copy(update=changes))


def with_samples(**changes) -> Look:
    return replace(LOOK, progress=replace(PROGRESS, students={"a": replace(SAMPLES, **changes)}))


@pytest.mark.parametrize(
    "later",
    [
        replace(LOOK, taken_seconds=20.0, found_seconds=20.0, scraped_seconds=20.0, clock=120.0),
        with_samples(progress_age_seconds=13.0, heartbeat_age_seconds=11.0),
        with_view(step=11, epoch=1.6, cycle=2, loss=0.4, accuracy={"holdout": 0.6}, samples_per_second=9.0),
        with_view(barrier_seconds=1.0, last_heartbeat_timestamp_seconds=110.0, last_progress_timestamp_seconds=110.0),
        with_table(clock_timestamp_seconds=110.0, open=RoundView(cycle=1, split="train", open_seconds=15.0)),
    ],
)
def test_steps_and_seconds_are_no_news(later):
    assert news(later) == news(LOOK)


def test_how_many_rows_have_arrived_is_no_news_but_the_first_are():
    some, more = with_view(rows_durable=1), with_view(rows_durable=50)
    assert news(some) != news(LOOK)
    assert news(some) == news(more)


@pytest.mark.parametrize(
    "later",
    [
        replace(LOOK, table=None),
        replace(LOOK, message="no answer"),
        replace(LOOK, progress=Progress(Sight.NO_DATA, SightReason.SCRAPE_FAILED)),
        replace(LOOK, progress=replace(PROGRESS, reason=SightReason.SCRAPE_STALE)),
        replace(LOOK, progress=replace(PROGRESS, message="another")),
        replace(LOOK, progress=replace(PROGRESS, students={})),
        with_samples(attempt=2),
        with_samples(pod_uid="other"),
        with_samples(phase=StudentPhase.WAITING),
        with_samples(progress_age_seconds=None),
        with_samples(heartbeat_age_seconds=None),
        with_table(started_timestamp_seconds=2.0),
        with_table(open=None),
        with_table(open=RoundView(cycle=2, split="train", open_seconds=5.0)),
        with_table(open=RoundView(cycle=1, split="evaluation", open_seconds=5.0)),
        with_table(closes=[CLOSE]),
        with_table(complete=True),
        with_table(storage_full="State"),
        with_view(phase=StudentPhase.UPLOADING),
        with_view(attempt=2),
        with_view(pod_uid="other"),
        with_view(ever_joined=False),
        with_view(parked_attempt=1),
        with_view(owes_rows=True),
        with_view(behind=True),
    ],
)
def test_what_something_may_follow_from_is_news(later):
    assert news(later) != news(LOOK)


def test_a_terminal_record_is_news(summary):
    assert news(with_view(summary=summary("a"))) != news(LOOK)
