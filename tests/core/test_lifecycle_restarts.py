"""The taxonomy of ends, row by row: what each is counted as, and what happens next."""

from dataclasses import replace

import pytest

from distilljob_core.lifecycle.restarts import cut_message
from distilljob_core.lifecycle.seen import AttemptStanding, Wishes
from distilljob_core.phases import StudentPhase
from distilljob_core.results import StudentSummary
from distilljob_core.spec.job import DistillJobSpec

SUMMARY = StudentSummary.model_construct(name="a", attempt=1)
NO_RESTARTS = {"crash": 0, "hang": 0, "early": 0, "node": 0, "deleted": 0}


def restarts(made, name="a"):
    counted = made.state.students[name].restarts
    return {cause: getattr(counted, cause) for cause in NO_RESTARTS if getattr(counted, cause)}


@pytest.mark.parametrize(
    ("end", "counted"),
    [
        pytest.param({"exit_code": 1}, "crash", id="an-error-is-a-crash"),
        pytest.param({"exit_code": 137, "reason": "OOMKilled"}, "crash", id="killed-for-memory-is-a-crash"),
        pytest.param({"exit_code": 137, "reason": "Evicted"}, "crash", id="evicted-without-disruption-is-a-crash"),
        pytest.param({"exit_code": None}, "crash", id="an-unknown-end-is-a-crash"),
        pytest.param({"exit_code": 143}, "crash", id="terminated-by-nobody-is-a-crash"),
        pytest.param({"exit_code": 83}, "crash", id="the-current-attempt-fenced-is-a-crash"),
        pytest.param({"exit_code": 75}, "crash", id="parked-without-a-directive-is-a-crash"),
        pytest.param({"exit_code": 0}, "early", id="exit-0-proves-nothing"),
        pytest.param({"exit_code": 1, "disrupted": True}, "node", id="a-disruption-is-the-nodes-failure"),
        pytest.param({"exit_code": 80, "disrupted": True}, "node", id="a-disruption-comes-before-the-exit-code"),
    ],
)
def test_an_end_is_counted_and_replaced(bench, starts, end, counted):
    made = bench()
    made.end("a", **end)
    decision = made.decide()
    assert starts(decision) == [("a", 2)]
    assert restarts(made) == {counted: 1}
    assert [event.type for event in decision.events] == ["Warning", "Normal"]


def test_a_terminal_record_counts_whatever_the_exit_code(bench, starts):
    made = bench()
    made.finish("a")
    made.end("a", exit_code=85)
    assert starts(made.decide()) == []
    assert made.state.students["a"].standing == "Done"


def test_a_terminal_record_in_the_termination_message_counts(bench, starts):
    made = bench()
    made.is_readable = False
    made.end("a", exit_code=0, terminal_record=True)
    assert starts(made.decide()) == []
    assert made.state.students["a"].standing == "Done"


@pytest.mark.parametrize("exit_code", [0, 75])
def test_an_end_that_only_the_aggregator_can_explain_waits_for_it(bench, starts, exit_code):
    made = bench()
    made.is_readable = False
    made.end("a", exit_code=exit_code)
    assert made.decide().actions == ()
    assert made.condition("StudentsReady")[1] == "WaitingForTable"
    made.is_readable = True
    assert starts(made.decide()) == [("a", 2)]


@pytest.mark.parametrize(
    ("exit_code", "reason"),
    [
        (80, "FatalSpec"),
        (81, "FatalData"),
        (82, "FatalMismatch"),
        (84, "TeacherGone"),
        (85, "StudentDiverged"),
        (86, "FatalDevice"),
        (87, "AggregatorStateLost"),
        (88, "FatalExit"),
    ],
)
def test_a_fatal_exit_ends_the_job_with_its_reason(bench, ends, exit_code, reason):
    made = bench()
    made.end("b", exit_code=exit_code, message="what to change")
    decision = made.decide()
    assert made.state.outcome.kind == "Failed"
    assert made.state.outcome.reason == reason
    assert "student b" in made.state.outcome.message
    assert "what to change" in made.state.outcome.message
    assert ends(decision) == [("a", 1, "JobEnded"), ("c", 1, "JobEnded")]
    assert made.condition("Failed")[:2] == ("True", reason)


def test_a_fatal_code_of_the_users_own_trainer_must_be_confirmed_by_its_record(bench, starts):
    made = bench(students=[{"name": "a", "model": {"name": "x"}, "command": ["train"]}])
    made.end("a", exit_code=80)
    assert starts(made.go()) == [("a", 2)]
    made.end("a", exit_code=80, recorded_exit_code=80)
    made.decide()
    assert made.state.outcome.reason == "FatalSpec"


def test_a_diverged_student_is_dropped_where_the_job_can_spare_it(bench, starts):
    made = bench(failurePolicy={"onDivergence": "DropStudent"}, quorum={"minimumStudents": 2})
    made.end("a", exit_code=85)
    decision = made.decide()
    assert starts(decision) == []
    assert decision.control.dropped == ("a",)
    assert made.state.outcome is None
    assert made.condition("Degraded") == ("True", "StudentDropped", "a")
    made.end("b", exit_code=85)
    made.decide()
    assert made.state.outcome.reason == "QuorumLost"


def test_without_a_minimum_nobody_can_be_spared(bench):
    made = bench(failurePolicy={"onDivergence": "DropStudent"})
    made.end("a", exit_code=85)
    made.decide()
    assert made.state.outcome.reason == "QuorumLost"


def test_a_drop_that_the_aggregator_journaled_is_kept_when_the_state_is_lost(bench, starts, ends):
    made = bench()
    made.view("a", phase=StudentPhase.DROPPED)
    made.state = replace(made.state, students={})
    decision = made.decide()
    assert starts(decision) == []
    assert ends(decision) == [("a", 1, "Dropped")]
    assert decision.control.dropped == ("a",)


def test_an_attempt_gone_unseen_is_replaced_after_its_own_back_off(bench, starts):
    made = bench()
    made.lose("a")
    assert starts(made.go()) == [("a", 2)]
    made.decide()
    made.lose("a")
    assert starts(made.decide()) == []
    assert starts(made.decide(10.0)) == [("a", 3)]
    assert restarts(made) == {"deleted": 2}
    assert made.state.students["a"].account.charged == 0


def test_an_attempt_gone_unseen_waits_for_the_aggregators_word(bench, starts):
    made = bench()
    made.is_readable = False
    made.lose("a")
    assert made.decide().actions == ()
    made.is_readable = True
    made.finish("a")
    assert starts(made.decide()) == []
    assert made.state.students["a"].standing == "Done"


def test_every_tenth_deletion_in_a_row_is_charged_as_a_crash(bench):
    made = bench()
    for _ in range(10):
        made.lose("a")
        made.decide()
        made.go(400.0)
        made.decide()
    assert restarts(made) == {"deleted": 9, "crash": 1}
    assert made.state.students["a"].account.spent == 1
    assert made.state.students["a"].account.deleted_in_a_row == 0


def test_a_silent_node_is_waited_for(bench, starts):
    made = bench()
    made.change("a", standing=AttemptStanding.UNREACHABLE)
    assert made.decide().actions == ()
    assert made.decide(86_400.0).actions == ()
    assert made.condition("StudentsReady")[1] == "NodeUnreachable"
    made.lose("a")
    assert starts(made.decide()) == [("a", 2)]
    assert restarts(made) == {"node": 1}


def test_a_node_that_speaks_again_is_forgiven(bench):
    made = bench(failurePolicy={"nodeLost": {"forceDeleteAfterSeconds": 60}})
    made.change("a", standing=AttemptStanding.UNREACHABLE)
    made.decide()
    made.change("a", standing=AttemptStanding.RUNNING)
    made.decide(59.0)
    made.change("a", standing=AttemptStanding.UNREACHABLE)
    decision = made.decide(59.0)
    assert decision.actions == ()
    assert decision.next_wake_seconds == made.now + 60


def test_an_attempt_on_a_lost_node_is_given_up_where_the_user_opted_in(bench, ends, starts):
    made = bench(failurePolicy={"nodeLost": {"forceDeleteAfterSeconds": 60}})
    made.change("a", standing=AttemptStanding.UNREACHABLE)
    made.decide()
    decision = made.decide(60.0)
    assert ends(decision) == [("a", 1, "NodeLost")]
    assert decision.actions[0].manner == "Force"
    made.obey(decision)
    assert starts(made.decide()) == [("a", 2)]
    assert restarts(made) == {"node": 1}


@pytest.mark.parametrize("reason", ["Unschedulable", "ImagePullBackOff", "CreateContainerConfigError", "FailedCreate"])
def test_an_attempt_that_cannot_run_yet_is_never_a_restart(bench, reason):
    made = bench(running=False)
    made.go()
    made.change("a", standing=AttemptStanding.PENDING, pod_uid="", reason=reason, message="0/3 nodes")
    for _ in range(5):
        assert made.decide(600.0).actions == ()
    assert made.condition("StudentsReady") == ("False", "StudentsPending", f"a: {reason}: 0/3 nodes")
    assert restarts(made) == {}


def test_the_second_kill_for_memory_says_to_raise_it(bench):
    made = bench()
    for expected in ("False", "True"):
        made.end("a", exit_code=137, reason="OOMKilled")
        made.decide()
        assert made.condition("Degraded")[0] == expected
        made.go(300.0)
    assert made.condition("Degraded")[1:] == ("StudentOutOfMemory", "a: killed for memory 2 times, raise its memory")


@pytest.mark.parametrize(("volume", "reason"), [("Results", "ResultsFull"), ("State", "SpoolFull")])
def test_a_full_volume_is_told_and_not_judged(bench, volume, reason):
    made = bench()
    made.storage_full = volume
    assert made.decide().actions == ()
    assert made.condition("Degraded")[:2] == ("True", reason)


def test_another_pod_under_the_number_of_a_lost_one_is_ended_before_the_next_attempt(bench, starts, ends):
    made = bench()
    made.change("a", pod_uid="another")
    decision = made.decide()
    assert starts(decision) == []
    assert ends(decision) == [("a", 1, "Stray")]
    made.obey(decision)
    assert starts(made.decide()) == [("a", 2)]


def test_an_older_attempt_that_still_lives_is_ended(bench, ends):
    made = bench()
    made.end("a")
    made.go()
    made.change("a")
    made.attempts["a", 1] = replace(made.attempts["a", 1], standing=AttemptStanding.RUNNING)
    assert ends(made.obey(made.decide())) == [("a", 1, "Stray")]
    made.decide()
    assert made.state.students["a"].ending is None
    assert made.state.students["a"].attempt == 2


def test_a_lost_state_goes_on_with_the_newest_attempt_in_sight(bench, starts):
    made = bench()
    made.end("a")
    made.go()
    made.state = replace(made.state, students={})
    assert made.decide().actions == ()
    assert made.state.students["a"].attempt == 2
    made.end("a")
    assert starts(made.decide()) == [("a", 3)]


def test_an_ending_of_an_attempt_that_the_world_has_left_behind_is_forgotten(bench):
    made = bench()
    made.wishes = Wishes(suspend=True)
    made.decide()
    made.wishes = Wishes()
    made.lose("a")
    made.run("a", 2)
    made.decide()
    assert made.state.students["a"].attempt == 2
    assert made.state.students["a"].ending is None


def test_a_lost_state_counts_on_from_the_newest_attempt_that_joined(bench, starts):
    made = bench(running=False)
    made.view("a", attempt=7, pod_uid="a-7")
    assert starts(made.decide())[0] == ("a", 8)


def test_a_failure_shows_how_the_attempt_ended(bench):
    made = bench()
    made.end("a", exit_code=137, reason="OOMKilled", message="x" * 1000)
    made.decide()
    end = made.state.students["a"].last_termination
    assert (end.attempt, end.exit_code, end.reason, end.time_seconds) == (1, 137, "OOMKilled", made.now)
    assert len(end.message) == 256


def test_a_long_message_ends_at_a_word_and_never_within_an_address():
    text = f"DataError: fetch\n  it from https://data.example/{'x' * 300}.tar.gz and try again"
    assert cut_message(text) == "DataError: fetch it from …"
    assert cut_message("two\n  lines") == "two lines"
    assert cut_message("a" * 256) == "a" * 256
    assert cut_message("word " * 60) == ("word " * 51).strip() + " …"


@pytest.mark.parametrize(
    ("end", "told"),
    [
        ({"exit_code": 1, "message": "boom"}, "attempt 1 exited 1 (boom); next attempt in 0 s"),
        ({"exit_code": None, "reason": "Evicted"}, "attempt 1 ended (Evicted); next attempt in 0 s"),
        ({"exit_code": 0, "reason": "Completed"}, "attempt 1 exited 0 without a terminal record; next attempt in 0 s"),
    ],
)
def test_an_event_tells_the_last_words(bench, end, told):
    made = bench()
    made.end("a", **end)
    assert made.decide().events[0].message == told


def test_the_end_of_an_attempt_without_a_time_is_dated_when_it_is_seen(bench):
    made = bench()
    made.end("a", ended_seconds=None)
    made.decide(5.0)
    assert made.state.students["a"].last_termination.time_seconds == made.now


@pytest.mark.parametrize(
    ("end", "counted"),
    [
        pytest.param({"exit_code": 143, "deleted": True}, "deleted", id="saved-when-deleted"),
        pytest.param({"exit_code": 137, "deleted": True}, "deleted", id="killed-after-its-grace"),
        pytest.param({"exit_code": None, "deleted": True}, "deleted", id="deleted-before-it-ran"),
        pytest.param({"exit_code": 1, "deleted": True}, "crash", id="crashed-while-it-was-deleted"),
        pytest.param({"exit_code": 0, "deleted": True}, "early", id="left-while-it-was-deleted"),
        pytest.param({"standing": AttemptStanding.GONE, "exit_code": None}, "deleted", id="gone"),
        pytest.param(
            {"standing": AttemptStanding.GONE, "exit_code": None, "disrupted": True}, "node", id="gone-by-drain"
        ),
    ],
)
def test_what_somebody_deleted_is_no_crash(bench, end, counted):
    made = bench()
    made.end("a", **end)
    made.decide()
    assert restarts(made) == {counted: 1}


def test_an_event_tells_a_deletion_that_was_seen_from_one_that_was_not(bench):
    made = bench()
    made.end("a", exit_code=143, deleted=True)
    made.end("b", exit_code=None, standing=AttemptStanding.GONE)
    told = [event.message for event in made.decide().events if event.type == "Warning"]
    assert told == [
        "attempt 1 was deleted; next attempt in 0 s",
        "attempt 1 was gone before its end was seen; next attempt in 0 s",
    ]


@pytest.mark.parametrize("standing", [AttemptStanding.ENDED, AttemptStanding.GONE])
def test_what_ended_after_the_look_at_the_aggregator_waits_for_the_next(bench, starts, standing):
    made = bench()
    made.end("a", exit_code=1, standing=standing, disrupted=True, awaits_look=True)
    assert made.decide().actions == ()
    assert made.condition("StudentsReady")[1] == "WaitingForTable"
    made.change("a", awaits_look=False)
    assert starts(made.decide()) == [("a", 2)]


def test_our_own_ending_waits_for_no_look(bench, starts):
    made = bench()
    made.wishes = Wishes(suspend=True)
    made.decide()
    made.end("a", exit_code=143, awaits_look=True)
    made.wishes = Wishes()
    assert starts(made.decide()) == [("a", 2)]
    assert restarts(made) == {}


def test_a_failure_counted_blindly_is_taken_back_when_the_student_was_done(bench):
    made = bench()
    made.is_readable = False
    for attempt in (1, 2, 3):
        made.end("a", exit_code=137, disrupted=attempt == 2)
        made.decide()
        made.go(400.0)
    assert restarts(made) == {"crash": 2, "node": 1}
    made.is_readable = True
    made.view("a", summary=SUMMARY.model_copy(update={"attempt": 2}), phase=StudentPhase.FINISHED)
    made.decide()
    assert restarts(made) == {"crash": 1}
    assert made.state.students["a"].account.charged == 1
    assert made.state.students["a"].unproven == ()


def test_a_failure_counted_blindly_stays_when_the_student_was_not_done(bench):
    made = bench()
    made.is_readable = False
    made.end("a")
    made.decide()
    made.is_readable = True
    made.decide()
    made.finish("a")
    made.decide()
    assert restarts(made) == {"crash": 1}


def test_a_student_without_restarts_is_given_up_only_when_the_aggregator_can_say_that_it_is_not_done(bench):
    made = bench(failurePolicy={"maxRestartsPerStudent": 0})
    made.is_readable = False
    made.end("a")
    assert made.decide(86_400.0).actions == ()
    assert made.state.outcome is None
    made.is_readable = True
    made.decide()
    assert made.state.outcome.reason == "BudgetExhausted"


def test_an_attempt_that_joined_and_left_nothing_is_not_started_again_under_its_number(bench, starts):
    made = bench(running=False)
    made.decide()
    made.view("a", attempt=1, pod_uid="a-1")
    assert starts(made.decide(29.0)) == []
    assert starts(made.decide(1.0)) == [("a", 2), ("b", 1), ("c", 1)]
    assert restarts(made) == {"deleted": 1}


def test_replicas_are_students_of_their_own(bench, starts):
    made = bench(running=False)
    made.spec = DistillJobSpec.model_validate(
        {"dataset": {"name": "digits"}, "students": [{"name": "a", "model": {"name": "x"}, "replicas": 2}]}
    )
    assert starts(made.decide()) == [("a-0", 1), ("a-1", 1)]
