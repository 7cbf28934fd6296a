"""Patience: how many failures are put up with, how long each is waited for, and how patience is earned back."""

import pytest

from distilljob_core.lifecycle.backoff import wait_seconds
from distilljob_core.spec.policies import Backoff


@pytest.mark.parametrize(
    ("num_failures", "expected_seconds"),
    [
        pytest.param(1, 0, id="the-first-restart-is-at-once"),
        pytest.param(2, 10, id="the-second-waits-for-the-base"),
        pytest.param(3, 20, id="then-it-doubles"),
        pytest.param(6, 160, id="and-doubles"),
        pytest.param(7, 300, id="up-to-the-longest"),
        pytest.param(1000, 300, id="and-stays-there"),
    ],
)
def test_waits_grow_from_one_failure_to_the_next(num_failures, expected_seconds):
    assert wait_seconds(Backoff(), num_failures) == expected_seconds


def test_a_wait_that_no_float_can_hold_is_the_longest():
    assert wait_seconds(Backoff(factor=100.0), 1000) == 300


def test_the_first_wait_is_never_longer_than_the_longest():
    assert wait_seconds(Backoff(initial_seconds=60, max_seconds=5), 1) == 5


def crash(made, name="a", exit_code=1):
    """Let a student crash, and replace it once its wait is over."""
    made.end(name, exit_code=exit_code)
    made.decide()
    made.go(300.0)
    return made.decide()


def test_a_student_may_fail_as_often_as_its_budget_says_and_no_more(bench):
    made = bench(failurePolicy={"maxRestartsPerStudent": 2})
    crash(made)
    crash(made, exit_code=0)
    assert made.state.outcome is None
    made.end("a")
    made.decide()
    assert made.state.outcome.reason == "BudgetExhausted"
    assert "failurePolicy.maxRestartsPerStudent (2)" in made.state.outcome.message
    assert made.state.students["a"].restarts.total == 2


def test_the_job_has_a_budget_of_its_own(bench):
    made = bench(failurePolicy={"maxRestarts": 2})
    crash(made, "a")
    crash(made, "b")
    made.end("c")
    made.decide()
    assert made.state.outcome.reason == "BudgetExhausted"
    assert "failurePolicy.maxRestarts (2)" in made.state.outcome.message


def test_failures_at_the_same_moment_share_the_jobs_budget(bench, starts):
    made = bench(failurePolicy={"maxRestarts": 2, "onBudgetExhausted": "DropStudent"}, quorum={"minimumStudents": 2})
    for name in "abc":
        made.end(name)
    decision = made.decide()
    assert starts(decision) == [("a", 2), ("b", 2)]
    assert decision.control.dropped == ("c",)


def test_a_student_without_restarts_left_leaves_where_the_job_can_spare_it(bench):
    made = bench(
        failurePolicy={"maxRestartsPerStudent": 0, "onBudgetExhausted": "DropStudent"}, quorum={"minimumStudents": 2}
    )
    made.end("a")
    decision = made.decide()
    assert decision.control.dropped == ("a",)
    assert [event.reason.value for event in decision.events] == ["StudentDropped"]
    assert made.state.outcome is None


def test_lost_nodes_and_deletions_charge_nobody(bench):
    made = bench(failurePolicy={"maxRestartsPerStudent": 0, "maxRestarts": 0})
    for _ in range(4):
        made.end("a", disrupted=True)
        made.decide()
        made.go(300.0)
        made.decide()
    for _ in range(4):
        made.lose("a")
        made.decide()
        made.go(300.0)
        made.decide()
    assert made.state.outcome is None
    assert made.state.students["a"].restarts.node == made.state.students["a"].restarts.deleted == 4


def test_closed_cycles_with_its_labels_refill_a_students_budget_but_never_the_jobs(bench):
    made = bench(failurePolicy={"maxRestartsPerStudent": 1, "refillCycles": 2, "maxRestarts": 2})
    crash(made)
    made.close()
    made.decide()
    assert made.state.students["a"].account.spent == 1
    made.close()
    made.decide()
    assert made.state.students["a"].account.spent == 0
    crash(made)
    assert made.state.outcome is None
    made.end("b")
    made.decide()
    assert "failurePolicy.maxRestarts (2)" in made.state.outcome.message


def test_cycles_closed_without_its_labels_refill_nothing(bench):
    made = bench(failurePolicy={"maxRestartsPerStudent": 1, "refillCycles": 1}, quorum={"minimumStudents": 2})
    crash(made)
    made.close("b", "c")
    made.decide()
    assert made.state.students["a"].account.spent == 1


def test_a_failure_after_a_closed_cycle_starts_the_refill_over(bench):
    made = bench(failurePolicy={"refillCycles": 2})
    crash(made)
    made.close()
    made.decide()
    crash(made)
    made.close()
    made.decide()
    assert made.state.students["a"].account.spent == 2


def test_a_closed_cycle_ends_the_growth_of_waits(bench):
    made = bench()
    crash(made)
    made.end("a")
    made.decide()
    assert made.state.students["a"].backoff_until_seconds == made.now + 10
    made.go(10.0)
    made.close()
    made.decide()
    made.end("a")
    made.decide()
    assert made.state.students["a"].restarts.crash == 3
    assert made.attempt("a").attempt == 3
    assert made.state.students["a"].account.failures_in_a_row == 1


def test_each_kind_of_failure_grows_its_own_wait(bench):
    made = bench()
    crash(made)
    made.end("a", disrupted=True)
    made.go()
    account = made.state.students["a"].account
    assert (account.failures_in_a_row, account.nodes_in_a_row) == (1, 1)
    assert made.attempt("a").attempt == 3


def test_a_waiting_student_is_started_at_the_moment_its_wait_ends(bench, starts):
    made = bench()
    crash(made)
    made.end("a")
    decision = made.decide()
    assert decision.next_wake_seconds == made.now + 10
    told = "a: waits for its next attempt; attempt 2 exited 1"
    assert made.condition("StudentsReady") == ("False", "StudentsRestarting", told)
    assert starts(made.decide(9.9)) == []
    assert starts(made.decide(0.1)) == [("a", 3)]


def test_a_clock_that_goes_back_makes_nobody_wait_longer_than_the_longest_wait(bench, starts):
    made = bench()
    crash(made)
    made.end("a")
    made.decide()
    made.decide(-86_400.0)
    assert starts(made.decide(300.0)) == [("a", 3)]
