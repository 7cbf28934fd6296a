"""What can be told of a job from its memory and the round table."""

import pytest

from distilljob_core.lifecycle.model import Ending, EndReason, Manner, Standing, StudentState
from distilljob_core.outlook import doing, open_cycle, seconds_left
from distilljob_core.phases import StudentPhase
from distilljob_core.results import StudentSummary
from distilljob_core.round_table import CloseView, RoundTable, StudentView

VIEW = StudentView.model_construct(attempt=1, phase=StudentPhase.INDEPENDENT, epoch=4.0, summary=None)
ENDED = Ending(1, EndReason.HANG, Manner.GRACEFUL, 0.0)


@pytest.mark.parametrize(
    ("student", "view", "word"),
    [
        pytest.param(StudentState(Standing.DONE), VIEW, "Finished", id="done"),
        pytest.param(StudentState(Standing.DROPPED), VIEW, "Dropped", id="dropped"),
        pytest.param(StudentState(Standing.PARKED), VIEW, "Parked", id="parked"),
        pytest.param(StudentState(), None, "Queued", id="never-started"),
        pytest.param(StudentState(backoff_until_seconds=101.0), VIEW, "BackOff", id="waits"),
        pytest.param(StudentState(backoff_until_seconds=100.0), VIEW, "Queued", id="has-waited"),
        pytest.param(StudentState(Standing.LIVE, 1), VIEW, "Independent", id="at-work"),
        pytest.param(StudentState(Standing.LIVE, 1), None, "Starting", id="unheard-of"),
        pytest.param(StudentState(Standing.LIVE, 2), VIEW, "Starting", id="newer-than-the-table"),
        pytest.param(StudentState(Standing.LIVE, 1, ending=ENDED), VIEW, "Ending", id="ending"),
        pytest.param(StudentState(Standing.LIVE, 2, ending=ENDED), None, "Starting", id="an-older-one-ends"),
    ],
)
def test_what_a_student_does_is_one_word(student, view, word):
    assert doing(student, view, 100.0) == word


def close(cycle, *, last=False, split="train"):
    return CloseView(cycle=cycle, split=split, contributors=["a"], weights=[1], missing=[], last=last)


@pytest.mark.parametrize(
    ("closes", "cycles", "number"),
    [
        pytest.param([], 5, 1, id="none-closed"),
        pytest.param([close(1)], 5, 2, id="one-closed"),
        pytest.param([close(1), close(2, last=True)], 5, 2, id="ended-early"),
        pytest.param([close(1), close(2)], 2, 2, id="never-beyond-the-plan"),
        pytest.param([close(1), close(1, split="evaluation")], 5, 2, id="evaluation-is-no-cycle"),
    ],
)
def test_the_open_cycle_is_the_one_after_the_last_close_unless_that_was_the_last(closes, cycles, number):
    assert open_cycle(RoundTable.model_construct(closes=closes), cycles) == number


def test_the_first_cycle_is_open_before_there_is_a_table():
    assert open_cycle(None, 5) == 1


def test_the_pace_counts_all_the_time_that_the_job_was_active():
    assert seconds_left(VIEW, 10, 120.0) == 6 * 120.0 / 4
    assert seconds_left(VIEW, 4, 120.0) == seconds_left(VIEW, 3, 120.0) == 0.0


def test_a_finished_student_needs_no_time_and_one_without_an_epoch_cannot_tell():
    assert seconds_left(VIEW.model_copy(update={"summary": StudentSummary.model_construct()}), 10, 1.0) == 0.0
    assert seconds_left(VIEW.model_copy(update={"epoch": 0.0}), 10, 1.0) is None
