"""How an attempt ended, and what follows: rows of the failure taxonomy, on a real control plane."""

import json

import pytest

from distilljob_core.exchange import Directive, RoundKey
from distilljob_core.termination import termination_message
from harness.group import Group, Site, network
from harness.jobs import condition, student
from harness.students import run_to_the_end
from rig.api import CONFIG_MAPS, JOBS, PODS

pytestmark = pytest.mark.asyncio(loop_scope="module")

REPLACED = {
    "crash": (1, {}, "crash"),
    "SIGKILL from nobody we know": (137, {}, "crash"),
    "SIGTERM that we did not send": (143, {}, "crash"),
    "a fence while nobody is newer": (83, {}, "crash"),
    "out of memory": (137, {"container_reason": "OOMKilled"}, "crash"),
    "evicted for its own disk, as the next one will be": (137, {"pod_reason": "Evicted"}, "crash"),
    "evicted": (143, {"disruption": "EvictionByEvictionAPI"}, "node"),
    "preempted": (143, {"disruption": "PreemptionByScheduler"}, "node"),
    "drained, and fatal by chance": (80, {"disruption": "TerminationByKubelet", "pod_reason": "Evicted"}, "node"),
}
FATAL = {
    80: "FatalSpec",
    81: "FatalData",
    82: "FatalMismatch",
    84: "TeacherGone",
    85: "StudentDiverged",
    86: "FatalDevice",
    87: "AggregatorStateLost",
    88: "FatalExit",
    89: "FatalExit",
}
OWN_TRAINER = network("a", command=["python", "train.py"])


@pytest.mark.parametrize(("code", "annotations", "cause"), REPLACED.values(), ids=REPLACED)
async def test_an_attempt_that_may_be_retried_is_replaced_once(group: Group, code, annotations, cause):
    await group.apply()
    await group.exit("a", code, **annotations)
    job = await group.until_attempt("a", 2)
    assert student(job, "a")["restarts"] == {cause: 1}
    assert student(job, "a")["lastTermination"]["exitCode"] == code
    assert student(job, "b")["attempt"] == 1
    await group.pod("a", 2)
    assert await group.jobs() == ["a-a1", "a-a2", "b-a1"]


@pytest.mark.parametrize(("code", "reason"), FATAL.items())
async def test_a_fatal_exit_fails_the_job_at_once_with_its_reason_and_last_words(group: Group, code, reason):
    await group.apply()
    words = termination_message(code, "alexnet is no network")
    await group.exit("a", code, termination_message=words)
    job = await group.until_condition("Failed", "True", reason, "alexnet is no network")
    assert condition(job, "Failed")[2].startswith(f"student a: attempt 1 exited {code}")
    assert job["status"]["phase"] == "Failed"
    assert job["status"]["restartsTotal"] == 0
    await group.api.until(PODS, lambda pods: not any(map(_lives, pods)), group.namespace, selector=group.selector())


async def test_a_fatal_code_of_a_users_trainer_is_a_crash_unless_its_last_words_agree(group: Group):
    await group.apply(OWN_TRAINER, "b")
    await group.exit("a", 81, termination_message="no such file")
    job = await group.until_attempt("a", 2)
    assert student(job, "a")["restarts"] == {"crash": 1}
    await group.exit("a", 81, 2, termination_message=termination_message(81, "no such file"))
    await group.until_condition("Failed", "True", "FatalData", "no such file")


async def test_a_diverged_student_leaves_the_group_where_the_user_says_so(group: Group):
    await group.apply(failurePolicy={"onDivergence": "DropStudent"}, quorum={"minimumStudents": 1})
    await group.exit("a", 85)
    job = await group.until_condition("Degraded", "True", "StudentDropped", "a")
    assert student(job, "a")["phase"] == "Dropped"
    assert student(job, "b")["attempt"] == 1
    await until_wishes(group, {"stopAfterCycle": None, "dropped": ["a"]})


async def test_a_drop_that_the_group_cannot_spare_fails_the_job(group: Group):
    await group.apply(failurePolicy={"onDivergence": "DropStudent"}, quorum={"minimumStudents": 2})
    await group.exit("a", 85)
    await group.until_condition("Failed", "True", "QuorumLost", "1 students are left, 2 are needed")


async def test_a_record_makes_a_student_done_whatever_its_exit(group: Group, summary):
    await group.apply("a", "b")
    a, b = await group.play("a"), await group.play("b")
    await run_to_the_end([a, b], summary)
    a.leave()
    b.leave()
    await group.exit("a", 0)
    await group.exit("b", 1)
    job = await group.until_condition("Complete", "True", "AllStudentsDone")
    assert job["status"]["restartsTotal"] == 0
    assert {row["phase"] for row in job["status"]["students"]} == {"Finished"}


async def test_a_record_in_the_last_words_counts_while_the_aggregator_cannot_be_read(group: Group, summary):
    await group.apply()
    await group.exit("a", 0, termination_message=termination_message(0, "", summary("a")))
    job = await group.until(lambda job: student(job, "a").get("phase") == "Finished")
    assert condition(job, "Complete") == ("", "", "")
    assert await group.jobs() == ["a-a1", "b-a1"]


async def test_exit_0_without_a_record_proves_nothing(group: Group):
    """Complaint 7: a second try exits 0 although the job has failed."""
    await group.apply()
    a = await group.play("a")
    a.leave()
    await group.exit("a", 0)
    job = await group.until_attempt("a", 2)
    assert student(job, "a")["restarts"] == {"early": 1}
    [told] = await group.until_told("StudentExitedEarly")
    assert "exited 0 without a terminal record" in told


async def test_exit_0_is_not_judged_until_the_aggregator_has_spoken(group: Group):
    await group.apply()
    await group.exit("a", 0)
    job = await group.until_condition("StudentsReady", "False", "WaitingForTable", "a: attempt 1 ended")
    assert student(job, "a")["attempt"] == 1
    await group.aggregate()
    job = await group.until_attempt("a", 2)
    assert student(job, "a")["restarts"] == {"early": 1}


async def test_a_journaled_park_is_no_restart(group: Group):
    await group.apply(placement={"maximumConcurrentStudents": 1})
    a = await group.play("a")
    assert await group.jobs() == ["a-a1"]
    await a.bring(RoundKey(1))
    await a.until_directive(Directive.PARK)
    a.leave()
    await group.exit("a", 75)
    job = await group.until(lambda job: student(job, "a").get("phase") == "Parked")
    assert job["status"]["restartsTotal"] == 0
    await group.pod("b")


async def test_exit_75_without_a_journaled_park_is_a_crash(group: Group):
    await group.apply()
    a = await group.play("a")
    a.leave()
    await group.exit("a", 75)
    job = await group.until_attempt("a", 2)
    assert student(job, "a")["restarts"] == {"crash": 1}


async def test_exit_75_is_not_judged_until_the_aggregator_has_spoken(group: Group):
    await group.apply()
    await group.exit("a", 75)
    await group.until_condition("StudentsReady", "False", "WaitingForTable")
    await group.aggregate()
    job = await group.until_attempt("a", 2)
    assert student(job, "a")["restarts"] == {"crash": 1}


async def test_a_second_death_for_memory_is_somebodys_business(group: Group):
    await group.apply()
    await group.exit("a", 137, container_reason="OOMKilled")
    job = await group.until_attempt("a", 2)
    assert student(job, "a")["lastTermination"]["reason"] == "OOMKilled"
    assert condition(job, "Degraded")[:2] == ("False", "Healthy")
    await group.exit("a", 137, 2, container_reason="OOMKilled")
    await group.until_condition("Degraded", "True", "StudentOutOfMemory", "raise its memory")
    await group.pod("a", 3)


async def test_a_pod_that_somebody_deletes_is_replaced_and_costs_nothing(group: Group):
    await group.apply(failurePolicy={"maxRestartsPerStudent": 0, "maxRestarts": 0})
    await group.play("a")
    pod = await group.pod("a")
    await group.api.delete(PODS, pod["metadata"]["name"], group.namespace)
    job = await group.until_attempt("a", 2)
    assert student(job, "a")["restarts"] == {"deleted": 1}


async def test_an_attempt_that_is_collected_while_no_operator_runs_is_replaced_once(group: Group, site: Site):
    """Complaint 11: what happens while the controller restarts is lost."""
    await group.apply()
    await group.play("a")
    await group.pod("b")
    await site.operator.kill()
    await group.api.delete(JOBS, f"{group.name}-a-a1", group.namespace, options={"propagationPolicy": "Foreground"})
    selector = group.selector("a")
    await group.api.until(PODS, lambda pods: not pods, group.namespace, selector=selector)
    await group.api.until(JOBS, lambda jobs: not jobs, group.namespace, selector=selector)
    await site.operator.start()
    job = await group.until_attempt("a", 2)
    assert student(job, "a")["restarts"] == {"deleted": 1}
    assert student(job, "b")["attempt"] == 1
    assert len(await group.until_told("StudentDeleted")) == 1


async def test_what_crashes_while_no_operator_runs_is_replaced_once(group: Group, site: Site):
    await group.apply()
    await group.pod("a")
    await site.operator.kill()
    await group.exit("a", 1)
    await site.operator.start()
    job = await group.until_attempt("a", 2)
    assert student(job, "a")["restarts"] == {"crash": 1}


async def test_a_student_without_restarts_left_fails_the_job(group: Group):
    await group.apply(failurePolicy={"maxRestartsPerStudent": 1})
    await group.play("b")
    await group.exit("a", 1)
    await group.exit("a", 3, 2)
    job = await group.until_condition("Failed", "True", "BudgetExhausted", "failurePolicy.maxRestartsPerStudent (1)")
    assert student(job, "a")["restarts"] == {"crash": 1}
    assert student(job, "a")["lastTermination"]["exitCode"] == 3


async def test_a_job_without_restarts_left_fails(group: Group):
    await group.apply(failurePolicy={"maxRestarts": 1})
    await group.aggregate()
    await group.exit("a", 1)
    await group.pod("a", 2)
    await group.exit("b", 1)
    await group.until_condition("Failed", "True", "BudgetExhausted", "student b: attempt 1 exited 1")


async def test_a_student_without_restarts_left_leaves_and_the_others_finish_without_it(group: Group, summary):
    policy = {"maxRestartsPerStudent": 0, "onBudgetExhausted": "DropStudent"}
    await group.apply(failurePolicy=policy, quorum={"minimumStudents": 1})
    b = await group.play("b")
    await group.exit("a", 1)
    await group.until_condition("Degraded", "True", "StudentDropped", "a")
    await until_wishes(group, {"stopAfterCycle": None, "dropped": ["a"]})
    await group.site.aggregators.bring_wishes(group.api, group.namespace, group.name)
    await run_to_the_end([b], summary)
    b.leave()
    await group.exit("b", 0)
    job = await group.until_condition("Complete", "True", "QuorumDone", "all students are done but a")
    assert job["status"]["result"]["exact"] is False
    assert job["status"]["result"]["bestStudent"] == "b"


async def test_nobody_is_given_up_while_the_aggregator_cannot_say_that_it_is_not_done(group: Group):
    await group.apply(failurePolicy={"maxRestartsPerStudent": 0})
    await group.exit("a", 1)
    await group.until_condition("StudentsReady", "False", "WaitingForTable")
    await group.aggregate()
    await group.until_condition("Failed", "True", "BudgetExhausted")


async def until_wishes(group: Group, wishes: dict) -> None:
    def told(maps: list) -> bool:
        return bool(maps) and json.loads(maps[0]["data"]["control.json"]) == wishes

    await group.api.until(CONFIG_MAPS, told, group.namespace, name=f"{group.name}-control")


def _lives(pod: dict) -> bool:
    return pod["status"]["phase"] in ("Pending", "Running")
