"""The status: what is shown of a job, what is remembered, and what is worth a write."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilljob_core.conditions import Condition, ConditionType, Reason
from distilljob_core.lifecycle.model import (
    Account,
    Ending,
    EndReason,
    JobState,
    Manner,
    Outcome,
    Restarts,
    Standing,
    StudentState,
    Termination,
)
from distilljob_core.phases import StudentPhase
from distilljob_core.results import HoldoutAccuracy, StudentSummary, TestAccuracy
from distilljob_core.round_table import CloseView, RoundTable, StudentView
from distilljob_core.spec.load import check_job
from distilljob_operator.memory import read_state
from distilljob_operator.shown import is_urgent, shown

NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z
VALID = Condition(ConditionType.VALID, "True", Reason.SPEC_VALID, "", NOW - 100)
INVALID = Condition(ConditionType.VALID, "False", Reason.SPEC_INVALID, "spec.method: is wrong", NOW)
JOB = check_job(
    {
        "apiVersion": "distilljob.dev/v1alpha1",
        "kind": "DistillJob",
        "metadata": {"name": "demo"},
        "spec": {
            "dataset": {"name": "digits"},
            "method": {"cycles": 4, "independentEpochs": 1, "distillEpochs": 1},
            "students": [{"name": name, "model": {"name": "mlp_small"}} for name in "abc"],
        },
    }
)
LIVE = StudentState(Standing.LIVE, 1, "pod")
WORKING = StudentView.model_construct(
    name="a",
    phase=StudentPhase.INDEPENDENT,
    attempt=1,
    pod_uid="pod",
    ever_joined=True,
    cycle=2,
    epoch=4.0,
    planned_epochs=8,
    accuracy={"holdout": 0.91234, "test": 0.99},
    last_progress_timestamp_seconds=NOW - 7,
    summary=None,
)
SUMMARY = StudentSummary.model_construct(
    accuracy=TestAccuracy(last=0.8, selected=0.8, optimistic=0.9, independent=None),
    holdout=HoldoutAccuracy(last=0.85, selected=0.85),
)


def table(**views):
    """Close the first cycle; the students do what is said of them."""
    students = [WORKING.model_copy(update={"name": name} | views.get(name, {})) for name in "abc"]
    close = CloseView(cycle=1, split="train", contributors=["a"], weights=[1], missing=[], last=False)
    return RoundTable.model_construct(closes=[close], students=students, complete=False)


def condition(type_, status="True", reason=Reason.TRAINING, message=""):
    return Condition(type_, status, reason, message, NOW - 50.5)


def running(**students):
    return JobState(
        "uid-1",
        dict.fromkeys("abc", LIVE) | students,
        started_seconds=NOW - 120.5,
        active_since_seconds=NOW - 120.0,
        conditions=(condition(ConditionType.PROGRESSING),),
    )


def show(state, seen=None, *, before=None, now=NOW, job=JOB, valid=VALID, generation=1):
    return shown(job, state, seen, now, generation=generation, valid=valid, before=before)


def row(status, name="a"):
    return next(student for student in status["students"] if student["name"] == name)


def ended(kind, reason):
    state = running(a=replace(LIVE, standing=Standing.DONE))
    outcome = Outcome(kind, reason, "the end", NOW - 5)
    return replace(
        state, outcome=outcome, active_since_seconds=None, active_seconds=115.9, conditions=(condition(kind_of(kind)),)
    )


def kind_of(kind):
    return ConditionType(kind)


def test_a_running_job_says_where_it_stands():
    status = show(running(), table(b={"epoch": 3.0}))
    assert status["phase"] == "Training"
    assert (status["cycle"], status["cycles"], status["cycleColumn"]) == (2, 4, "2/4")
    assert (status["studentsColumn"], status["restartsTotal"], status["accuracyColumn"]) == ("3/3", 0, "91.2%")
    assert status["slowestStudent"] == "b"
    assert "restarts" not in status
    assert status["startTime"] == "2027-01-15T07:57:59Z"
    assert row(status) == {
        "name": "a",
        "phase": "Independent",
        "attempt": 1,
        "podUID": "pod",
        "cycle": 2,
        "lastProgressTime": "2027-01-15T07:59:00Z",
        "accuracy": 0.9123,
    }


@pytest.mark.parametrize(
    ("state", "valid", "phase"),
    [
        pytest.param(JobState("uid-1"), VALID, "Pending", id="nothing-yet"),
        pytest.param(JobState("uid-1"), INVALID, "Invalid", id="wrong"),
        pytest.param(running(), INVALID, "Training", id="wrong-after-the-start"),
        pytest.param(replace(running(), conditions=()), VALID, "Starting", id="starting"),
        pytest.param(
            replace(running(), conditions=(condition(ConditionType.SUSPENDED, "False", Reason.SUSPENDING),)),
            VALID,
            "Suspending",
            id="suspending",
        ),
        pytest.param(
            replace(running(), conditions=(condition(ConditionType.SUSPENDED),)), VALID, "Suspended", id="suspended"
        ),
        pytest.param(ended("Complete", Reason.ALL_STUDENTS_DONE), VALID, "Complete", id="complete"),
        pytest.param(ended("Failed", Reason.FATAL_DATA), VALID, "Failed", id="failed"),
    ],
)
def test_the_phase_is_derived_from_the_conditions(state, valid, phase):
    assert show(state, valid=valid)["phase"] == phase


def test_a_student_in_back_off_says_until_when_and_how_it_ended():
    end = Termination(1, 137, "OOMKilled", NOW - 3, "killed")
    waiting = StudentState(
        attempt=1,
        pod_uid="pod",
        backoff_until_seconds=NOW + 10,
        restarts=Restarts(crash=2, hang=1),
        last_termination=end,
    )
    status = show(running(b=waiting), table())
    assert (status["studentsColumn"], status["restartsTotal"]) == ("2/3", 3)
    assert status["restarts"] == row(status, "b")["restarts"] == {"crash": 2, "hang": 1}
    assert row(status, "b")["phase"] == "BackOff"
    assert row(status, "b")["backoffUntil"] == "2027-01-15T08:00:10Z"
    assert row(status, "b")["lastTermination"] == {
        "attempt": 1,
        "exitCode": 137,
        "reason": "OOMKilled",
        "time": "2027-01-15T07:59:57Z",
        "message": "killed",
    }


def test_a_hung_student_shows_its_ending():
    ending = Ending(1, EndReason.HANG, Manner.KEEP_EVIDENCE, NOW)
    status = show(running(c=replace(LIVE, ending=ending, backoff_until_seconds=NOW - 90)), table())
    assert row(status, "c")["phase"] == "Ending"
    assert row(status, "c")["ending"] == {"attempt": 1, "reason": "Hang", "time": "2027-01-15T08:00:00Z"}
    assert "backoffUntil" not in row(status, "c")


def test_students_that_wait_for_their_turn_are_not_at_work():
    status = show(running(b=replace(LIVE, standing=Standing.PARKED), c=StudentState()), table())
    assert [row(status, name)["phase"] for name in "abc"] == ["Independent", "Parked", "Queued"]
    assert status["studentsColumn"] == "1/3"


def test_a_dropped_student_is_not_waited_for():
    state = running(b=replace(LIVE, standing=Standing.DROPPED), c=replace(LIVE, standing=Standing.DONE))
    status = show(state, table(b={"epoch": 1.0}, c={"summary": SUMMARY}))
    assert (status["studentsColumn"], status["slowestStudent"]) == ("2/2", "a")
    assert row(status, "c")["accuracy"] == 0.8
    assert status["accuracyColumn"] == "91.2%", "the hold-out's, like those of the others"


def test_an_attempt_that_has_not_joined_is_not_at_work():
    status = show(running(a=replace(LIVE, attempt=2)), table(b={"ever_joined": False, "attempt": 0, "epoch": 0.0}))
    assert [row(status, name)["phase"] for name in "abc"] == ["Starting", "Starting", "Independent"]
    assert status["studentsColumn"] == "1/3"


def test_the_estimate_follows_the_slowest_and_the_wish_to_stop_early():
    seen = table(b={"epoch": 3.0, "last_progress_timestamp_seconds": NOW})
    assert show(running(), seen)["estimatedCompletionTime"] == "2027-01-15T08:03:00Z"  # 120 s for 3 of 8 epochs
    spec = JOB.spec.model_copy(update={"stop_after_cycle": 3})
    early = show(running(), seen, job=JOB.model_copy(update={"spec": spec}))
    assert early["estimatedCompletionTime"] == "2027-01-15T08:02:00Z"


def test_nobody_estimates_before_every_student_has_an_epoch_or_while_nothing_runs():
    unheard = table(b={"epoch": 0.0, "ever_joined": False})
    assert "estimatedCompletionTime" not in show(running(), unheard)
    before = show(running(), table())
    paused = show(replace(running(), active_since_seconds=None), table(), before=before)
    assert "estimatedCompletionTime" not in paused
    assert "slowestStudent" not in paused
    assert "estimatedCompletionTime" not in show(running(), table(), job=None, before=before)


def test_an_estimate_that_is_still_good_stays_and_a_better_one_replaces_it():
    def after(seconds, before=None):
        state = replace(running(), active_since_seconds=NOW - seconds)
        return show(state, table(a={"last_progress_timestamp_seconds": NOW}), before=before)

    before = after(12_000)
    assert before["estimatedCompletionTime"] == "2027-01-15T11:20:00Z"
    assert after(12_500, before)["estimatedCompletionTime"] == "2027-01-15T11:20:00Z"
    assert after(13_000, before)["estimatedCompletionTime"] == "2027-01-15T11:36:00Z"


def test_an_estimate_does_not_recede_while_nobody_makes_a_step():
    before = show(running(), table())
    assert "estimatedCompletionTime" in before
    for waited_seconds in (60, 3_600, 100_000):
        assert show(running(), table(), now=NOW + waited_seconds, before=before) == before


def test_what_the_table_said_stays_while_it_cannot_be_read():
    before = show(running(), table(b={"epoch": 3.0}))
    assert show(running(), None, before=before, now=NOW + 5) == before


def test_what_a_restarted_aggregator_does_not_know_yet_stays():
    before = show(running(), table())
    forgotten = {"cycle": 0, "epoch": 0.0, "accuracy": {}, "last_progress_timestamp_seconds": 0.0}
    assert show(running(), table(a=forgotten, b=forgotten, c=forgotten), before=before) == before


def test_a_new_attempt_is_starting_even_while_the_table_cannot_be_read():
    before = show(running(), table())
    status = show(running(a=replace(LIVE, attempt=2)), None, before=before)
    assert [row(status, name)["phase"] for name in "ab"] == ["Starting", "Independent"]


def test_the_first_cycle_is_open_once_the_job_has_started():
    assert "cycleColumn" not in show(JobState("uid-1"))
    assert show(running())["cycleColumn"] == "1/4"


def test_a_job_that_cannot_be_read_keeps_what_was_shown():
    before = show(running(), table())
    assert show(running(), None, before=before, job=None)["cycleColumn"] == "2/4"


def test_the_result_stays_when_the_aggregator_has_gone():
    state = ended("Complete", Reason.ALL_STUDENTS_DONE)
    before = {"result": {"bestStudent": "a", "accuracy": 0.9, "exact": True}}
    status = show(state, None, before=before)
    assert status["result"] == before["result"]
    assert status["accuracyColumn"] == "90.0%"
    assert status["completionTime"] == "2027-01-15T07:59:55Z"
    assert status["activeSeconds"] == 115
    assert "result" not in show(ended("Failed", Reason.FATAL_DATA), None, before=before)


def test_every_condition_speaks_of_the_generation_but_an_end_of_its_own():
    state = ended("Complete", Reason.ALL_STUDENTS_DONE)
    before = show(state, generation=2)
    after = show(state, generation=3, before=before)
    assert [found["observedGeneration"] for found in before["conditions"]] == [2, 2]
    assert {found["type"]: found["observedGeneration"] for found in after["conditions"]} == {"Valid": 3, "Complete": 2}
    assert after["observedGeneration"] == 3


def test_the_words_of_the_scheduler_are_passed_on_up_to_a_limit():
    told = condition(ConditionType.STUDENTS_READY, "False", Reason.STUDENTS_PENDING, "a: 0/5 nodes\nare free " * 200)
    message = show(replace(running(), conditions=(told,)))["conditions"][1]["message"]
    assert message.startswith("a: 0/5 nodes are free a: 0/5")
    assert len(message) <= 1024


def test_a_time_beyond_all_dates_is_no_crash():
    state = running(a=StudentState(attempt=1, backoff_until_seconds=1e300))
    assert row(show(state))["backoffUntil"] == "9999-12-31T23:59:59Z"


@pytest.mark.parametrize("before", [None, {}, {"students": 3}, {"students": [{"name": 1}]}, {"conditions": [{}]}])
def test_a_status_that_nobody_wrote_is_as_good_as_none(before):
    assert show(running(), table(), before=before) == show(running(), table())


TIMES = st.none() | st.floats(0, 1e10)
COUNTS = st.integers(0, 9)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
STUDENTS = st.builds(
    StudentState,
    standing=st.sampled_from(Standing),
    attempt=COUNTS,
    pod_uid=TEXTS,
    asked_seconds=TIMES,
    ending=st.none() | st.builds(Ending, COUNTS, st.sampled_from(EndReason), st.sampled_from(Manner), st.floats(0, 9)),
    backoff_until_seconds=TIMES,
    restarts=st.builds(Restarts, COUNTS, COUNTS),
    account=st.builds(Account, spent=COUNTS),
    last_termination=st.none() | st.builds(Termination, COUNTS, st.none() | COUNTS, TEXTS, st.integers(0, 9), TEXTS),
    joined_seconds=TIMES,
)
CONDITIONS = st.lists(
    st.builds(
        Condition,
        st.sampled_from(ConditionType),
        st.sampled_from(["True", "False", "Unknown"]),
        st.sampled_from(Reason),
        st.just("said"),
        st.floats(0, 1e10),
    ),
    unique_by=lambda found: found.type,
).map(lambda found: tuple(sorted(found, key=lambda one: [*ConditionType].index(one.type))))
STATES = st.builds(
    JobState,
    uid=st.just("uid-1"),
    students=st.dictionaries(st.sampled_from("abc"), STUDENTS),
    started_seconds=TIMES,
    active_since_seconds=TIMES,
    conditions=CONDITIONS,
)


@given(STATES)
def test_what_is_remembered_survives_the_status_and_is_shown_alike(state):
    status = json.loads(json.dumps(show(state, valid=VALID)))
    read = read_state({"metadata": {"uid": "uid-1"}, "status": status})
    assert replace(read, conditions=()) == replace(state, conditions=())
    assert show(read, before=status) == status


@pytest.mark.parametrize(
    "memory",
    ["", "{", "[]", "3", '"x"', '{"uid": 3}', '{"uid": "other"}', '{"uid": "uid-1", "started_seconds": NaN}', 3, None],
)
def test_a_damaged_or_foreign_memory_is_none(memory):
    body = {"metadata": {"uid": "uid-1"}, "status": {"memory": memory, "conditions": [{"type": "Valid"}]}}
    assert read_state(body) == JobState("uid-1")


def test_a_job_without_status_has_no_memory():
    assert read_state({"metadata": {"uid": "uid-1"}}) == JobState("uid-1")


def test_what_only_a_newer_version_can_read_is_left_to_it():
    status = show(replace(running(), conditions=(condition(ConditionType.PROGRESSING),)))
    status["conditions"][0]["reason"] = "Newer"
    status["students"][0]["lastTermination"] = {"attempt": "Newer"}
    read = read_state({"metadata": {"uid": "uid-1"}, "status": status})
    assert [found.type for found in read.conditions] == [ConditionType.PROGRESSING]


BEFORE = show(running(), table())


@pytest.mark.parametrize(
    "after",
    [
        pytest.param(show(running(), table(a={"epoch": 5.0, "cycle": 3}), now=NOW + 600), id="epochs"),
        pytest.param(show(running(), table(a={"phase": StudentPhase.EVALUATING})), id="phases-of-work"),
        pytest.param(show(running(a=replace(LIVE, joined_seconds=NOW)), table()), id="memory"),
        pytest.param(show(running(a=replace(LIVE, pod_uid="new")), table()), id="pod-uid"),
        pytest.param(
            show(replace(running(), conditions=(condition(ConditionType.PROGRESSING, message="more"),)), table()),
            id="messages",
        ),
    ],
)
def test_progress_waits_for_its_minute(after):
    assert after != BEFORE
    assert not is_urgent(BEFORE, after)


@pytest.mark.parametrize(
    "after",
    [
        pytest.param(show(running(a=replace(LIVE, attempt=2)), table()), id="attempt"),
        pytest.param(show(running(a=replace(LIVE, restarts=Restarts(hang=1))), table()), id="restart"),
        pytest.param(show(running(a=StudentState(attempt=1)), table()), id="over"),
        pytest.param(
            show(running(a=replace(LIVE, ending=Ending(1, EndReason.HANG, Manner.GRACEFUL, NOW))), table()), id="ending"
        ),
        pytest.param(show(replace(running(), conditions=()), table()), id="condition"),
        pytest.param(show(running(), table(), generation=2), id="generation"),
        pytest.param(show(ended("Failed", Reason.FATAL_DATA), table()), id="end"),
        pytest.param(show(running(), table(), valid=INVALID), id="invalid"),
    ],
)
def test_news_is_written_at_once(after):
    assert is_urgent(BEFORE, after)


def pending(message):
    held = Condition(ConditionType.STUDENTS_READY, "False", Reason.STUDENTS_PENDING, message, NOW)
    return show(replace(running(), conditions=(held,)), table())


@pytest.mark.parametrize(
    ("before", "after", "is_news"),
    [
        ("a: attempt 1 was asked for", "a: Unschedulable: 0/5 nodes are available", True),
        ("a: Unschedulable: 0/5 nodes are available", "a: ImagePullBackOff: back-off 10s", True),
        ("a: ImagePullBackOff: back-off 10s", "b: ImagePullBackOff: back-off 10s", True),
        ("a: Unschedulable: 0/5 nodes are available", "a: Unschedulable: unbound claims", True),
        ("a: Unschedulable: 0/5 nodes are available", "a: Unschedulable: 0/12 nodes are available", False),
        ("a: ImagePullBackOff: back-off 10s", "a: ImagePullBackOff: back-off 20s", False),
        ("a: attempt 1 was asked for", "b", False),
    ],
)
def test_what_keeps_a_student_from_running_is_news_and_how_often_it_was_tried_is_not(before, after, is_news):
    assert is_urgent(pending(before), pending(after)) == is_news


def test_the_first_status_is_news():
    assert is_urgent(None, BEFORE)
    assert is_urgent({}, BEFORE)


def test_the_status_of_64_students_that_all_failed_often_stays_below_100_kb():
    end = Termination(99, 137, "OOMKilled", NOW + 0.123456, "x" * 256)
    student = StudentState(
        Standing.LIVE,
        attempt=99,
        pod_uid="u" * 36,
        asked_seconds=NOW + 0.123456,
        ending=Ending(99, EndReason.NODE_LOST, Manner.KEEP_EVIDENCE, NOW + 0.123456),
        backoff_until_seconds=NOW + 0.123456,
        restarts=Restarts(9, 9, 9, 9, 9),
        account=Account(9, 9, 9, 9, 9, 9, 9, 9, 9),
        last_termination=end,
        joined_seconds=NOW + 0.123456,
        sighted_seconds=NOW + 0.123456,
    )
    told = tuple(condition(type_, message="y" * 300) for type_ in ConditionType)
    state = replace(running(), students={f"student-{n}-{'s' * 40}": student for n in range(64)}, conditions=told)
    assert len(json.dumps(show(state))) < 100_000
