"""How a job ends: by records alone, once, and with everybody seen off."""

from dataclasses import replace

import pytest

from distilljob_core.lifecycle.seen import AttemptStanding, Wishes
from distilljob_core.progress import Progress, Sight, SightReason
from distilljob_core.round_table import RoundView


def complete(made):
    for name in made.views:
        made.finish(name)
    made.complete = True
    return made.decide()


def test_a_job_is_complete_when_every_record_and_the_result_are_there(bench):
    made = bench()
    made.finish("a")
    made.finish("b")
    made.decide()
    assert made.state.outcome is None
    made.finish("c")
    made.decide()
    assert made.state.outcome is None
    made.complete = True
    decision = made.decide()
    assert (made.state.outcome.kind, made.state.outcome.reason) == ("Complete", "AllStudentsDone")
    assert decision.events[-1].type == "Normal"
    assert made.condition("Complete")[:2] == ("True", "AllStudentsDone")


def test_a_result_without_all_records_completes_nothing(bench):
    made = bench()
    made.complete = True
    made.finish("a")
    made.decide()
    assert made.state.outcome is None


def test_dropped_students_are_not_waited_for(bench):
    made = bench(failurePolicy={"onDivergence": "DropStudent"}, quorum={"minimumStudents": 2})
    made.end("a", exit_code=85)
    made.decide()
    made.finish("b")
    made.finish("c")
    made.complete = True
    made.decide()
    assert made.state.outcome.reason == "QuorumDone"
    assert made.state.outcome.message == "all students are done but a"


def test_finished_students_leave_by_themselves_and_the_aggregator_last(bench):
    made = bench()
    decision = complete(made)
    assert decision.actions == ()
    assert decision.aggregator_wanted
    for name in "abc":
        made.end(name, exit_code=0)
    assert not made.decide().aggregator_wanted


def test_a_finished_student_that_does_not_leave_is_ended_in_the_end(bench, ends):
    made = bench()
    made.finish("a")
    assert made.decide().next_wake_seconds <= made.now + 600
    assert ends(made.decide(599.0)) == []
    assert ends(made.decide(1.0)) == [("a", 1, "Finished")]
    made.end("a", exit_code=143)
    made.decide()
    assert made.state.students["a"].ending is None
    assert made.state.students["a"].standing == "Done"


def test_an_end_is_for_ever(bench, starts):
    made = bench()
    complete(made)
    outcome, conditions = made.state.outcome, [c for c in made.state.conditions if c.type == "Complete"]
    made.end("a", exit_code=80)
    made.complete = False
    made.closes = []
    made.wishes = Wishes(suspend=True)
    for seconds in (1.0, 1000.0, -5000.0):
        assert starts(made.decide(seconds)) == []
    assert made.state.outcome == outcome
    assert [c for c in made.state.conditions if c.type == "Complete"] == conditions
    assert all(condition.type != "Failed" for condition in made.state.conditions)


def test_a_failed_job_ends_what_lives_and_counts_it_as_nothing(bench, ends):
    made = bench()
    made.end("a", exit_code=80)
    decision = made.decide()
    assert ends(decision) == [("b", 1, "JobEnded"), ("c", 1, "JobEnded")]
    assert decision.aggregator_wanted
    made.end("b", exit_code=143)
    made.lose("c")
    assert not made.decide().aggregator_wanted
    assert {student.standing for student in made.state.students.values()} == {"Idle"}
    assert made.state.students["b"].restarts.total == 0


def test_the_first_reason_to_fail_stays(bench):
    made = bench()
    made.end("a", exit_code=80)
    made.end("b", exit_code=81)
    decision = made.decide()
    assert made.state.outcome.reason == "FatalSpec"
    assert [event.reason for event in decision.events] == ["FatalSpec"]


def test_orders_to_start_that_nothing_came_of_are_taken_back_after_the_end(bench, ends, starts):
    made = bench(running=False)
    made.decide()
    made.run("a", 1)
    made.end("a", exit_code=80)
    made.decide(1.0)
    decision = made.decide(30.0)
    assert starts(decision) == []
    assert made.state.students["b"].standing == "Idle"
    made.run("b", 1)
    assert ends(made.decide()) == [("b", 1, "JobEnded")]


def test_an_unreachable_attempt_does_not_hold_the_aggregator_for_ever(bench):
    made = bench()
    made.end("a", exit_code=80)
    made.change("b", standing=AttemptStanding.UNREACHABLE)
    made.lose("c")
    assert made.decide().aggregator_wanted
    assert not made.decide(600.0).aggregator_wanted


def test_an_aggregator_that_forgot_closed_rounds_ends_the_job(bench):
    made = bench()
    made.close()
    made.close()
    made.decide()
    made.closes = made.closes[:1]
    made.decide()
    assert made.state.outcome.reason == "AggregatorStateLost"
    assert "knows 1 closed rounds and knew 2" in made.state.outcome.message


DEADLINE = {"minimumStudents": 2, "cycleDeadlineSeconds": 100, "onLoss": "Fail"}


@pytest.fixture
def overdue(bench):
    """One student's rows are durable, two are late."""
    made = bench(quorum=DEADLINE)
    made.view("a", rows_durable=5, owes_rows=False)
    made.decide()
    return made


def test_a_round_past_its_deadline_without_a_quorum_fails_the_job_that_wants_it(overdue):
    assert overdue.decide(99.0).next_wake_seconds == overdue.now + 1
    overdue.decide(1.0)
    assert overdue.state.outcome.reason == "QuorumLost"


@pytest.mark.parametrize(
    "quorum", [DEADLINE | {"onLoss": "Wait"}, DEADLINE | {"cycleDeadlineSeconds": None}], ids=["wait", "no-deadline"]
)
def test_a_round_past_its_deadline_fails_no_other_job(bench, quorum):
    made = bench(quorum=quorum)
    made.view("a", rows_durable=5, owes_rows=False)
    made.decide()
    made.decide(1000.0)
    assert made.state.outcome is None


def test_a_quorum_in_time_is_no_loss(overdue):
    overdue.view("b", owes_rows=False)
    overdue.decide(1000.0)
    assert overdue.state.outcome is None


def test_a_round_is_timed_from_its_first_durable_row(bench):
    made = bench(quorum=DEADLINE)
    made.decide(1000.0)
    assert made.state.round_started_seconds is None


def test_a_round_that_nobody_can_see_is_not_judged(overdue):
    overdue.is_readable = False
    overdue.decide(1000.0)
    assert overdue.state.outcome is None


def test_a_round_is_timed_afresh_after_a_restart_of_the_aggregator(overdue):
    overdue.aggregator = replace(overdue.aggregator, started_seconds=overdue.now + 50)
    overdue.decide(100.0)
    assert overdue.state.outcome is None
    overdue.decide(50.0)
    assert overdue.state.outcome.reason == "QuorumLost"


def test_a_close_ends_a_rounds_time(overdue):
    overdue.close()
    overdue.open = RoundView(cycle=2, split="train", open_seconds=0.0)
    overdue.decide(50.0)
    overdue.decide(50.0)
    assert overdue.state.outcome is None


def test_the_clock_of_a_round_stands_while_all_that_is_missing_waits_for_a_place(bench):
    made = bench(4, quorum=DEADLINE, placement={"maximumConcurrentStudents": 2})
    made.view("a", rows_durable=5, owes_rows=False)
    made.view("b", owes_rows=False)
    made.spec = made.spec.model_copy(update={"quorum": made.spec.quorum.model_copy(update={"minimum_students": 3})})
    made.decide()
    made.decide(1000.0)
    assert made.state.outcome is None
    made.view("b", owes_rows=True)
    made.decide()
    made.decide(100.0)
    assert made.state.outcome.reason == "QuorumLost"


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        (Progress(Sight.VALUE, SightReason.FRESH), ("True", "ProgressRead")),
        (Progress(Sight.STALE, SightReason.SCRAPE_STALE), ("Unknown", "MetricsStale")),
        (Progress(Sight.NO_DATA, SightReason.SCRAPE_FAILED), ("False", "MetricsUnavailable")),
        (Progress(), ("Unknown", "MetricsUnavailable")),
    ],
)
def test_whether_progress_can_be_seen_is_told(bench, progress, expected):
    made = bench()
    made.progress = replace(progress, students=made.progress.students)
    made.decide()
    assert made.condition("ProgressObservable")[:2] == expected


def test_an_aggregator_that_is_not_ready_is_told_in_its_own_words(bench):
    made = bench()
    made.aggregator = replace(made.aggregator, ready=False, message="probe failed")
    made.decide()
    assert made.condition("AggregatorReady") == ("False", "AggregatorUnavailable", "probe failed")


def test_a_job_at_rest_changes_nothing_that_would_have_to_be_written(bench):
    made = bench()
    before = made.decide().state
    for _ in range(5):
        assert made.decide(20.0).state == before


@pytest.mark.parametrize(("code", "reason"), [(87, "AggregatorStateLost"), (80, "FatalSpec"), (88, "FatalExit")])
def test_an_aggregator_that_no_restart_can_cure_fails_the_job(bench, ends, code, reason):
    made = bench()
    made.aggregator = replace(made.aggregator, ready=False, fatal_exit_code=code, message=f"exited {code}: why")
    decision = made.decide()
    assert (made.state.outcome.reason, made.state.outcome.message) == (reason, f"the aggregator exited {code}: why")
    assert [student for student, _, _ in ends(decision)] == ["a", "b", "c"]


def test_a_quorum_that_was_lost_is_not_joined_afterwards(bench):
    made = bench(2, running=False, quorum={"minimumStudents": 2}, failurePolicy={"onDivergence": "DropStudent"})
    made.go()
    made.view("b", attempt=0, pod_uid="")
    made.end("b", exit_code=85)
    made.decide()
    assert made.state.outcome.reason == "QuorumLost"
    assert not made.state.quorum_joined
