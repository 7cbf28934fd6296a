"""What `status` says of a job in a cluster, and what it advises."""

import io

import pytest
from rich.console import Console

from distilljob.cluster.jobs import read_known
from distilljob.cluster.place import Place
from distilljob.cluster.sight import ClusterSight
from distilljob.local.picture import Painter
from distilljob.watch.status import render_status

TIME = "2026-01-02T03:00:05Z"
AT_WORK = {"observedGeneration": 1, "phase": "Training", "startTime": TIME}


@pytest.fixture
def look(make_body):
    def make(**status):
        known = read_known(make_body(**(AT_WORK | status)))
        picture = Painter(known.job, 0.0).picture(known.state, None, 0.0)
        return ClusterSight(known, Place(), "here", picture, None, "ready", ())

    return make


def told(sight) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(render_status(sight, console.width))
    return console.file.getvalue()


def ended(phase: str, exit_code: int, **more) -> dict:
    end = {"attempt": 2, "exitCode": exit_code, "reason": "Error", "time": TIME}
    return {"name": "cnn", "phase": phase, "attempt": 2, "lastTermination": end, **more}


def test_a_parked_student_did_not_fail(look):
    sight = look(students=[ended("Parked", 75)])
    assert "cnn: attempt 2 ended with exit code 75" in told(sight)
    assert "ago (parked)" in told(sight)
    assert sight.advice[0] == "watch it, or end it early and well"


def test_who_waits_in_back_off_has_a_log_to_read(look):
    sight = look(students=[ended("BackOff", 1, backoffUntil=TIME)])
    assert "ago (Error)" in told(sight)
    what, log, _ = sight.advice
    assert what == "read what cnn said last; its next attempt comes by itself"
    assert log.endswith(" logs tiny cnn --attempt 2")


def test_a_hung_student_is_told_and_has_a_log_to_read(look):
    ending = {"attempt": 3, "reason": "Hang", "time": TIME}
    sight = look(students=[ended("Ending", 1) | {"attempt": 3, "ending": ending}])
    assert "cnn: attempt 3 is being ended (Hang)" in told(sight)
    assert sight.advice[1].endswith(" logs tiny cnn --attempt 3")


def test_what_was_ended_for_a_suspension_did_not_fail(look, condition):
    sight = look(students=[ended("Queued", 143)], conditions=[condition("Suspended", "True", "SuspendedByUser")])
    assert "exit code" not in told(sight)


def test_a_student_that_cannot_run_says_why(look, condition):
    why = "cnn: Unschedulable: 0/6 nodes are available"
    assert f"waiting: {why}" in told(look(conditions=[condition("StudentsReady", "False", "StudentsPending", why)]))
    assert why not in told(look(conditions=[condition("StudentsReady", "False", "StudentsRestarting", why)]))


def test_a_complete_job_says_where_its_weights_are(look, condition):
    result = {"bestStudent": "cnn", "accuracy": 0.97, "exact": True, "volumeClaimName": "tiny-results"}
    sight = look(phase="Complete", conditions=[condition("Complete", "True", "AllStudentsDone")], result=result)
    assert sight.advice[0] == "the weights are in the claim tiny-results; delete the job once you have them"
    assert sight.advice[1].endswith(" delete tiny")
