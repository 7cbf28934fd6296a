"""The job's clock: start, suspension, deadlines, and orders that got lost on the way."""

from dataclasses import replace

import pytest

from distilljob_core.lifecycle.deadlines import active_seconds
from distilljob_core.lifecycle.model import JobState
from distilljob_core.lifecycle.seen import AggregatorSeen, AttemptStanding, Wishes


def stay_pending(made, *names):
    """Let attempts be seen that never get to run."""
    for name in names:
        made.change(name, standing=AttemptStanding.PENDING, reason="Unschedulable")
        made.view(name, attempt=0, pod_uid="")


def fail_to_start(made):
    """Start all students, and let c never run."""
    made.go()
    stay_pending(made, "c")
    return made.decide(1.0)


def test_too_few_students_in_time_give_everything_back_and_try_again(bench, ends, starts):
    made = bench(running=False, startupDeadlineSeconds=100)
    fail_to_start(made)
    decision = made.go(99.0)
    assert ends(decision) == [("a", 1, "Released"), ("b", 1, "Released"), ("c", 1, "Released")]
    assert decision.events[0].message == "2 of 3 students joined within 100 s; all is given back and tried again"
    wait = made.decide(0.5)
    assert wait.actions == ()
    assert made.now < wait.next_wake_seconds <= made.now + 100
    made.now = wait.next_wake_seconds
    assert starts(made.decide()) == [("a", 2), ("b", 2), ("c", 2)]
    assert all(student.restarts.total == 0 for student in made.state.students.values())


def test_the_third_startup_that_fails_ends_the_job(bench):
    made = bench(running=False, startupDeadlineSeconds=100)
    for _ in range(3):
        fail_to_start(made)
        made.go(100.0)
        made.now = made.state.released_until_seconds or made.now
    assert made.state.outcome.reason == "StartupDeadlineExceeded"
    assert made.state.outcome.message.endswith("(startupDeadlineSeconds), 3 times over")


def test_jobs_that_wait_for_each_other_try_again_at_different_times(bench):
    untils = set()
    for uid in ("one", "another"):
        made = bench(running=False, startupDeadlineSeconds=100)
        made.state = JobState(uid)
        fail_to_start(made)
        made.go(99.0)
        untils.add(made.state.released_until_seconds)
    assert len(untils) == 2


def test_what_still_lives_after_a_release_is_ended_before_the_next_try(bench, ends):
    made = bench(running=False, startupDeadlineSeconds=100)
    made.decide()
    made.decide(100.0)
    assert made.state.released_until_seconds is not None
    made.run("a", 1)
    assert ends(made.decide()) == [("a", 1, "Released")]


def test_a_student_that_joined_and_was_released_must_join_again(bench):
    made = bench(running=False, startupDeadlineSeconds=100)
    fail_to_start(made)
    made.go(99.0)
    assert all(student.joined_seconds is None for student in made.state.students.values())


def test_a_parked_student_has_joined_also_after_a_release(bench):
    made = bench(3, running=False, startupDeadlineSeconds=100, placement={"maximumConcurrentStudents": 2})
    made.go()
    made.view("a", parked_attempt=1, owes_rows=False)
    made.end("a", exit_code=75)
    stay_pending(made, "b")
    made.go()
    stay_pending(made, "c")
    made.go(100.0)
    assert made.state.released_until_seconds is not None
    assert made.state.students["a"].joined_seconds is not None
    assert made.state.students["b"].joined_seconds is None


def test_once_enough_have_joined_the_startup_deadline_is_over_for_good(bench):
    made = bench(startupDeadlineSeconds=100)
    made.end("a")
    made.go()
    stay_pending(made, "a")
    assert made.decide(1000.0).actions == ()
    assert made.state.quorum_joined
    assert made.condition("Progressing")[:2] == ("True", "Training")


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"quorum": {"minimumStudents": 2}}, id="the-quorum-is-enough"),
        pytest.param({"placement": {"maximumConcurrentStudents": 2}}, id="as-many-as-there-are-places-are-enough"),
    ],
)
def test_a_startup_needs_only_those_it_must_have(bench, spec):
    made = bench(running=False, startupDeadlineSeconds=100, **spec)
    made.go()
    if ("c", 1) in made.attempts:
        stay_pending(made, "c")
    assert made.decide(1000.0).actions == ()


def test_whoever_cannot_see_who_joined_releases_nobody(bench):
    made = bench(running=False, startupDeadlineSeconds=100)
    made.is_readable = False
    made.go()
    assert made.decide(1000.0).actions == ()
    made.aggregator = replace(made.aggregator, ready=False)
    assert len(made.decide().actions) == 3


def test_a_release_ends_when_the_clock_goes_far_back(bench, starts):
    made = bench(running=False, startupDeadlineSeconds=100)
    fail_to_start(made)
    made.go(99.0)
    assert len(starts(made.decide(-86_400.0))) == 3


def test_a_job_that_is_active_for_too_long_fails(bench):
    made = bench(activeDeadlineSeconds=100)
    assert made.decide(98.0).next_wake_seconds == made.now + 1
    made.decide(1.0)
    assert made.state.outcome.reason == "DeadlineExceeded"
    assert active_seconds(made.state, made.now + 500) == 100


def test_suspended_time_does_not_count(bench):
    made = bench(activeDeadlineSeconds=100)
    made.wishes = Wishes(suspend=True)
    made.go(49.0)
    made.decide(86_400.0)
    made.wishes = Wishes()
    made.go()
    made.decide(49.0)
    assert made.state.outcome is None
    made.decide(1.0)
    assert made.state.outcome.reason == "DeadlineExceeded"


def test_a_suspension_ends_all_attempts_then_the_aggregator_and_counts_as_nothing(bench, ends, starts):
    made = bench()
    made.wishes = Wishes(suspend=True)
    decision = made.decide()
    assert ends(decision) == [(name, 1, "Suspended") for name in "abc"]
    assert [action.manner for action in decision.actions] == ["Graceful"] * 3
    assert decision.aggregator_wanted
    for name in "abc":
        made.end(name, exit_code=143)
    assert not made.decide().aggregator_wanted
    assert made.condition("Suspended")[:2] == ("False", "Suspending")
    made.aggregator = AggregatorSeen()
    made.decide()
    assert made.condition("Suspended")[:2] == ("True", "SuspendedByUser")
    assert made.condition("Progressing") == ("False", "SuspendedByUser", "spec.suspend is true")
    assert made.condition("AggregatorReady") == ("False", "AggregatorUnavailable", "spec.suspend is true")
    made.wishes = Wishes()
    decision = made.decide()
    assert decision.aggregator_wanted
    assert starts(decision) == [("a", 2), ("b", 2), ("c", 2)]
    assert decision.events[0].reason == "Resumed"
    assert all(student.restarts.total == 0 for student in made.state.students.values())


def test_a_job_that_is_created_suspended_starts_nothing(bench, starts):
    made = bench(running=False)
    made.aggregator = AggregatorSeen()
    made.wishes = Wishes(suspend=True)
    decision = made.decide()
    assert decision.actions == ()
    assert not decision.aggregator_wanted
    assert made.state.started_seconds is None
    made.wishes = Wishes()
    assert len(starts(made.decide())) == 3


def test_a_suspension_takes_back_orders_that_nothing_came_of(bench, ends, starts):
    made = bench(running=False)
    made.decide()
    made.wishes = Wishes(suspend=True)
    assert made.decide(1.0).aggregator_wanted
    assert not made.decide(30.0).aggregator_wanted
    made.run("a", 1)
    assert ends(made.decide()) == [("a", 1, "Suspended")]
    made.end("a", exit_code=143)
    made.wishes = Wishes()
    assert starts(made.decide()) == [("a", 2), ("b", 2), ("c", 2)]


def test_a_lost_order_to_start_is_given_again_at_once_by_a_new_watcher(bench, starts):
    made = bench(running=False)
    made.decide()
    made.watching_since = made.now + 1
    assert starts(made.decide(2.0)) == [("a", 1), ("b", 1), ("c", 1)]


def test_a_new_watcher_waits_for_the_aggregators_word_before_it_gives_a_lost_order_again(bench, starts):
    """What came of it may have been there and gone: its number is taken then."""
    made = bench(running=False)
    made.decide()
    made.watching_since, made.is_readable = made.now + 1, False
    assert starts(made.decide(2.0)) == []
    made.is_readable = True
    made.view("a", attempt=1, pod_uid="a-1")
    assert starts(made.decide(1.0)) == [("a", 2), ("b", 1), ("c", 1)]


def test_a_new_watcher_does_not_wait_for_ever_for_a_word_of_the_aggregator(bench, starts):
    made = bench(running=False)
    made.decide()
    made.watching_since, made.is_readable = made.now + 1, False
    assert made.decide(2.0).next_wake_seconds == made.watching_since + 30
    assert starts(made.decide(29.0)) == [("a", 1), ("b", 1), ("c", 1)]


def test_a_lost_order_is_given_again_at_once_where_no_aggregator_is(bench, starts):
    made = bench(running=False)
    made.decide()
    made.watching_since, made.is_readable = made.now + 1, False
    made.aggregator = AggregatorSeen(exists=False)
    assert starts(made.decide(2.0)) == [("a", 1), ("b", 1), ("c", 1)]


def test_an_order_to_start_that_is_not_obeyed_is_given_again_after_a_while(bench, starts):
    made = bench(running=False)
    assert made.decide().next_wake_seconds == made.now + 30
    assert starts(made.decide(29.0)) == []
    assert starts(made.decide(1.0)) == [("a", 1), ("b", 1), ("c", 1)]


def test_an_order_to_end_that_is_not_obeyed_is_given_again_after_a_while(bench, ends):
    made = bench()
    made.wishes = Wishes(suspend=True)
    assert made.decide().next_wake_seconds == made.now + 30
    assert ends(made.decide(29.0)) == []
    assert ends(made.decide(1.0)) == [(name, 1, "Suspended") for name in "abc"]


def test_an_attempt_ended_before_it_had_a_pod_is_over_when_it_is_gone(bench, starts):
    made = bench(running=False)
    made.go()
    made.change("a", standing=AttemptStanding.PENDING, pod_uid="")
    made.wishes = Wishes(suspend=True)
    made.go()
    made.wishes = Wishes()
    assert starts(made.decide()) == [("a", 2), ("b", 2), ("c", 2)]


def test_a_clock_that_goes_back_delays_no_order(bench, starts):
    made = bench(running=False)
    made.decide()
    made.decide(-86_400.0)
    assert starts(made.decide(30.0)) == [("a", 1), ("b", 1), ("c", 1)]


def test_the_wish_to_stop_early_reaches_the_aggregator(bench):
    made = bench()
    made.wishes = Wishes(stop_after_cycle=2)
    assert made.decide().control.stop_after_cycle == 2
