"""Restarts that the user wishes for: the next attempt, at once, and no failure of anybody's."""

import pytest

from distilljob_core.lifecycle.model import End, Restarts
from distilljob_core.lifecycle.seen import AttemptStanding, Wishes
from distilljob_core.restart_wishes import read_restart_wishes, restart_wish


def test_a_student_is_restarted_on_the_users_wish_and_nothing_is_counted(bench, starts, ends):
    made = bench()
    made.wishes = Wishes(restarts={"b": 1})
    decision = made.decide()
    assert ends(decision) == [("b", 1, "Restarted")]
    assert decision.actions[0].manner == "KeepEvidence"
    assert [(event.reason, event.student, event.attempt) for event in decision.events] == [("StudentRestarted", "b", 1)]
    made.end("b", exit_code=143)
    decision = made.go()
    assert starts(decision) == [("b", 2)]
    student = made.state.students["b"]
    assert (student.restarts, student.account.charged, student.account.deleted_in_a_row) == (Restarts(), 0, 0)
    assert made.decide().actions == ()


def test_a_wish_that_has_come_true_means_nothing_any_more(bench):
    made = bench()
    made.end("a")
    made.go()
    made.go(made.spec.failure_policy.backoff.base_seconds)
    made.wishes = Wishes(restarts={"a": 1, "nobody": 7})
    assert made.decide().actions == ()


def test_an_attempt_that_does_not_run_yet_leaves_nothing_to_look_at(bench):
    made = bench()
    made.change("a", standing=AttemptStanding.PENDING)
    made.wishes = Wishes(restarts={"a": 1})
    [action] = made.decide().actions
    assert isinstance(action, End)
    assert action.manner == "Graceful"


def test_an_attempt_that_crashes_before_it_is_ended_is_no_failure_either(bench, starts):
    made = bench()
    made.wishes = Wishes(restarts={"a": 1})
    made.decide()
    made.end("a", exit_code=1)
    assert starts(made.decide()) == [("a", 2)]
    assert made.state.students["a"].restarts == Restarts()


def test_who_waits_for_a_next_attempt_anyway_is_not_ended(bench):
    made = bench()
    made.end("a")
    made.wishes = Wishes(restarts={"a": 1})
    made.decide()
    assert made.state.students["a"].ending is None
    assert made.state.students["a"].restarts.crash == 1


def test_an_attempt_that_we_are_ending_already_is_not_ended_again(bench, ends):
    made = bench()
    made.wishes = Wishes(suspend=True)
    made.decide()
    made.wishes = Wishes(suspend=True, restarts={"a": 1})
    assert ends(made.decide()) == []


def test_a_wish_is_read_as_it_was_written():
    assert read_restart_wishes(restart_wish("cnn", "u-1", 3), "u-1") == {"cnn": 3}


@pytest.mark.parametrize(
    "annotations",
    [
        {},
        {"distilljob.dev/restart-cnn": "other/3"},
        {"distilljob.dev/restart-cnn": "3"},
        {"distilljob.dev/restart-cnn": "u-1/x"},
        {"distilljob.dev/restart-cnn": "u-1/²"},
        {"distilljob.dev/restart-cnn": None},
        {"elsewhere/restart-cnn": "u-1/3"},
    ],
)
def test_what_is_no_wish_for_this_very_job_is_none(annotations):
    assert read_restart_wishes(annotations, "u-1") == {}
