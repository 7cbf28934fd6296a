"""What the status of a DistillJob says, as the state that pictures are made of."""

import pytest

from distilljob.cluster.jobs import read_known
from distilljob.cluster.sight import with_status
from distilljob.cluster.submit import Stage, kept_wishes, stage_of
from distilljob.cluster.wait import is_there, read_duration
from distilljob.errors import BadInput, CommandError
from distilljob.local.picture import Painter
from distilljob_core.lifecycle.deadlines import active_seconds
from distilljob_core.lifecycle.model import Restarts, Standing

BEGAN = 1767322800.0  # 2026-01-02T03:00:00Z


def test_a_job_that_no_operator_has_seen_has_its_students_queued(make_body):
    known = read_known(make_body())
    assert [(name, one.standing, one.attempt) for name, one in known.state.students.items()] == [
        ("mlp", Standing.IDLE, 0),
        ("cnn", Standing.IDLE, 0),
    ]
    assert (known.state.started_seconds, known.has_ended, known.status.phase) == (None, False, "Pending")


@pytest.mark.parametrize(
    ("phase", "standing"),
    [
        ("Queued", "Idle"),
        ("BackOff", "Idle"),
        ("Parked", "Parked"),
        ("NeedsRows", "Parked"),
        ("Finished", "Done"),
        ("Dropped", "Dropped"),
        ("Uploading", "Live"),
        ("Ending", "Live"),
        ("A newer word", "Live"),
    ],
)
def test_a_phase_tells_how_a_student_stands(make_body, phase, standing):
    student = {"name": "cnn", "phase": phase, "attempt": 3, "restarts": {"crash": 2}}
    known = read_known(make_body(students=[student]))
    assert known.state.students["cnn"].standing == standing
    assert known.state.students["cnn"].restarts == Restarts(crash=2)
    assert known.state.students["mlp"].attempt == 0


def test_ends_and_endings_are_told(make_body):
    end = {"attempt": 2, "exitCode": 137, "reason": "OOMKilled", "time": "2026-01-02T03:00:05Z", "message": "m"}
    ending = {"attempt": 3, "reason": "Whatever", "time": "2026-01-02T03:00:09Z"}
    student = {"name": "cnn", "phase": "Ending", "attempt": 3, "lastTermination": end, "ending": ending}
    state = read_known(make_body(students=[student])).state.students["cnn"]
    assert (state.last_termination.exit_code, state.last_termination.time_seconds) == (137, BEGAN + 5)
    assert (state.ending.attempt, state.ending.reason) == (3, "Whatever")


def test_the_outcome_is_that_of_the_condition(make_body, condition):
    told = condition("Failed", "True", "BudgetExhausted", "no restarts are left")
    known = read_known(make_body(conditions=[told], completionTime="2026-01-02T04:00:00Z"))
    outcome = known.state.outcome
    assert (outcome.kind, outcome.reason, outcome.message) == ("Failed", "BudgetExhausted", "no restarts are left")
    assert outcome.time_seconds == BEGAN + 3600


def test_a_condition_of_a_newer_operator_is_shown_as_it_is(make_body, condition):
    known = read_known(make_body(conditions=[condition("Brighter", "True", "NewReason")]))
    assert [(one.type, one.reason) for one in known.state.conditions] == [("Brighter", "NewReason")]


def test_a_status_that_says_it_all_differently_is_none(make_body):
    assert read_known(make_body(students="many", phase="Training")).status.phase == "Pending"


def test_a_spec_of_another_version_says_what_to_update(make_body):
    with pytest.raises(BadInput, match=r"cannot be read by this distilljob.*another version") as caught:
        read_known(make_body(spec={"colour": "red"}))
    assert caught.value.problems[0].path == "spec.colour"


def suspension(status, reason, time="2026-01-02T03:30:00Z"):
    return ("Suspended", status, reason, "", time)


@pytest.mark.parametrize(
    ("status", "told", "active"),
    [
        ({}, None, 0),
        ({"startTime": "2026-01-02T03:00:00Z"}, None, 3600),
        ({"startTime": "2026-01-02T03:00:00Z", "activeSeconds": 900}, suspension("True", "SuspendedByUser"), 900),
        ({"startTime": "2026-01-02T03:00:00Z", "activeSeconds": 900}, suspension("False", "Suspending"), 900),
        ({"startTime": "2026-01-02T03:00:00Z", "activeSeconds": 900}, suspension("False", "NotSuspended"), 2700),
        (
            {"startTime": "2026-01-02T03:00:00Z", "activeSeconds": 70, "completionTime": "2026-01-02T03:20:00Z"},
            None,
            70,
        ),
    ],
)
def test_the_clock_stands_while_a_job_is_suspended_or_over(make_body, condition, status, told, active):
    conditions = [condition(*told)] if told else []
    state = read_known(make_body(**status, conditions=conditions)).state
    assert active_seconds(state, BEGAN + 3600) == active


def test_without_a_table_the_status_says_what_students_do(make_body):
    students = [
        {"name": "mlp", "phase": "Finished", "attempt": 1, "cycle": 4, "accuracy": 0.97},
        {"name": "cnn", "phase": "Distilling", "attempt": 2, "cycle": 3, "accuracy": 0.5},
    ]
    known = read_known(make_body(students=students, cycle=3))
    picture = Painter(known.job, 0.0).picture(known.state, None, 10.0)
    seen = with_status(picture, known.status, known.state)
    assert seen.cycle == 3
    assert [(row.name, row.doing, row.cycle, row.accuracy) for row in seen.rows] == [
        ("mlp", "Finished", 4, 0.97),
        ("cnn", "Distilling", 3, None),
    ]


def test_without_a_table_a_back_off_still_counts_down(make_body):
    student = {"name": "cnn", "phase": "BackOff", "attempt": 2, "backoffUntil": "2026-01-02T03:01:00Z"}
    known = read_known(make_body(students=[student]))
    picture = Painter(known.job, BEGAN).picture(known.state, None, BEGAN + 20)
    assert with_status(picture, known.status, known.state).rows[1].doing == "Back-off 40s"


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("30m", 1800), ("1h30m", 5400), ("1h5s", 3605), (" 2h ", 7200)]
)
def test_a_timeout_is_read_as_kubectl_takes_it(text, seconds):
    assert read_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1s", "1.5h", "30m1h", "1d"])
def test_what_is_no_time_is_bad_input(text):
    with pytest.raises(BadInput, match="write for example 90s, 30m or 1h30m"):
        read_duration(text)


def test_waiting_ends_where_it_should(make_body, condition):
    job = read_known(make_body(conditions=[condition("Progressing", "True"), condition("Complete", "False")]))
    assert is_there(job, "training")
    assert not is_there(job, "complete")
    assert not is_there(job, "suspended")


@pytest.mark.parametrize(
    ("type_", "goal", "words"),
    [("Failed", "complete", "tiny failed: why"), ("Complete", "suspended", "will never be suspended")],
)
def test_waiting_for_what_can_no_longer_come_ends(make_body, condition, type_, goal, words):
    job = read_known(make_body(conditions=[condition(type_, "True", "Because", "why")]))
    with pytest.raises(CommandError, match=words):
        is_there(job, goal)


def test_how_far_a_job_is_decides_what_may_change(make_body, condition):
    started = {"startTime": "2026-01-02T03:00:00Z"}
    assert stage_of(read_known(make_body())) is None
    assert stage_of(read_known(make_body(**started))) is Stage.STARTED
    assert stage_of(read_known(make_body(**started, conditions=[condition("Suspended", "True")]))) is Stage.SUSPENDED
    assert stage_of(read_known(make_body(**started, conditions=[condition("Complete", "True")]))) is Stage.ENDED


def test_a_file_that_is_silent_about_a_wish_keeps_it():
    before = {"suspend": True, "stopAfterCycle": 2, "failurePolicy": {"maxRestarts": 3}, "students": ["old"]}
    wanted = {"suspend": False, "students": ["new"]}
    assert kept_wishes(before, wanted) == {
        "suspend": False,
        "students": ["new"],
        "stopAfterCycle": 2,
        "failurePolicy": {"maxRestarts": 3},
    }
