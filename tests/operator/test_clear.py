"""What is cleared away, and what stays for whoever wants to look."""

from dataclasses import replace

import pytest

from distilljob_core.conditions import Reason
from distilljob_core.lifecycle.model import Decision, JobState, Outcome, Standing, StudentState
from distilljob_core.spec.job import DistillJobSpec
from distilljob_core.termination import Termination
from distilljob_operator.children import (
    CLAIMS,
    CONFIG_MAPS,
    ContainerEnd,
    DeploymentChild,
    JobChild,
    JobChildren,
    OtherChild,
    PodChild,
)
from distilljob_operator.clear import clear

SPEC = {"dataset": {"name": "digits"}, "students": [{"name": "a", "model": {"name": "x"}}]}
OVER = Outcome("Complete", Reason.ALL_STUDENTS_DONE, "", 10.0)


def child(name, **more):
    common = {"namespace": "team", "name": name, "uid": f"uid-{name}", "owner_uid": "job", "job": "demo"}
    return common | {"job_uid": "job", "role": "student", "student": "", "attempt": 0, "is_deleting": False} | more


def attempt(number, exit_code=1, *, lives=False):
    """The Job of an attempt, and its pod."""
    job = JobChild(**child(f"a{number}", student="a", attempt=number), is_over=not lives, is_suspended=False)
    pod = PodChild(
        **child(f"a{number}-x", student="a", attempt=number, owner_uid=job.uid),
        created="",
        phase="Running" if lives else "Failed",
        ip="",
        is_ready=lives,
        reason="",
        message="",
        waits_for="",
        waits_message="",
        disruption="",
        num_restarts=0,
        end=None if lives else ContainerEnd(exit_code, "Error", Termination(), None),
        deletion_asked_seconds=None,
        grace_seconds=0.0,
    )
    return job, pod


def cleared(attempts=(), *, newest=9, outcome=None, aggregator_wanted=True, policy="Running", whole=False):
    """Names of what goes."""
    deployments = (DeploymentChild(**child("demo-aggregator"), replicas=1, failure=""),) if whole != "left" else ()
    others = {
        CONFIG_MAPS.name: (OtherChild(**child("demo-spec"), digest=""),),
        CLAIMS.name: (OtherChild(**child("demo-results"), digest=""),),
    }
    children = JobChildren(
        jobs=tuple(job for job, _ in attempts),
        pods=tuple(pod for _, pod in attempts),
        deployments=deployments if whole else (),
        others=others if whole else {},
    )
    spec = DistillJobSpec.model_validate({**SPEC, "cleanupPolicy": policy})
    state = JobState("job", {"a": StudentState(Standing.LIVE, newest)}, outcome=outcome)
    return [found.name for _, found in clear(children, spec, Decision(state, aggregator_wanted=aggregator_wanted))]


def test_the_newest_three_attempts_that_were_judged_stay():
    assert cleared([attempt(number) for number in (1, 2, 3, 4, 5)]) == ["a2", "a1"]


def test_an_attempt_that_left_only_to_come_back_leaves_nothing_to_read():
    assert cleared([attempt(1), attempt(2, 75), attempt(3, 75), attempt(4)]) == ["a3", "a2"]


def test_what_may_still_do_something_is_not_cleared_away():
    assert cleared([attempt(number, lives=True) for number in (1, 2, 3, 4, 5)]) == []


def test_attempts_of_students_that_nothing_is_known_of_are_left_alone():
    job, pod = attempt(1, 75)
    unknown = replace(job, student="z"), replace(pod, student="z")
    assert cleared([unknown, attempt(2, 75)]) == ["a2"]


def test_the_attempt_that_is_still_to_be_judged_stays():
    assert cleared([attempt(1, 75)], newest=1) == []


@pytest.mark.parametrize(
    ("policy", "whole", "gone"),
    [
        ("Running", True, ["demo-aggregator"]),
        ("Nothing", True, []),
        ("All", True, ["demo-aggregator"]),
        ("All", "left", ["demo-spec"]),
        ("Running", "left", []),
    ],
)
def test_the_end_of_a_job_takes_what_its_policy_says_and_never_a_claim(policy, whole, gone):
    assert cleared(outcome=OVER, aggregator_wanted=False, policy=policy, whole=whole) == gone


def test_nothing_of_the_whole_goes_while_a_pod_lives():
    assert cleared([attempt(9, lives=True)], outcome=OVER, aggregator_wanted=False, policy="All", whole="left") == []


def test_a_suspended_job_gives_back_its_aggregator_whatever_its_policy():
    assert cleared(aggregator_wanted=False, policy="Nothing", whole=True) == ["demo-aggregator"]
