"""From the start to the end of a job, and what is left of it, on a real control plane."""

import json

import pytest

from distilljob_core.exchange import Directive, RoundKey
from distilljob_core.softlabels.frames import Split
from harness.group import Group, Site, network
from harness.jobs import condition, student
from harness.students import run_to_the_end
from rig.api import (
    CLAIMS,
    CONFIG_MAPS,
    DEPLOYMENTS,
    DISTILLJOBS,
    JOBS,
    NETWORK_POLICIES,
    PODS,
    SECRETS,
    SERVICES,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

TWO_CYCLES = {"cycles": 2, "independentEpochs": 1, "distillEpochs": 1}
ROLE = "distilljob.dev/role"


async def test_suspending_ends_the_students_and_then_the_aggregator_and_only_then_is_it_suspended(group: Group):
    await group.apply()
    await group.play("a")
    pod = (await group.pod("b"))["metadata"]["name"]
    await group.api.annotate(PODS, pod, group.namespace, unreachable="yes")  # takes its time to end
    await group.change(suspend=True)
    selector = group.selector("a")
    await group.api.until(PODS, lambda pods: not pods, group.namespace, selector=selector)
    await group.api.until(PODS, lambda pods: _is_leaving(pods[0]), group.namespace, selector=group.selector("b"))
    job = await group.until_condition("Suspended", "False", "Suspending")
    assert job["status"]["phase"] == "Suspending"
    assert condition(job, "StudentsReady")[:2] == ("False", "Suspending")
    assert await roles(group) == ["aggregator", "student"]
    await group.api.annotate(PODS, pod, group.namespace, unreachable=None)
    job = await group.until_condition("Suspended", "True", "SuspendedByUser")
    assert await roles(group) == []
    assert await group.jobs() == []
    assert len(await group.api.list(CLAIMS, group.namespace, selector=group.selector())) == 4


async def test_a_resumed_job_goes_on_with_new_attempts_that_are_no_restarts(group: Group, summary):
    await group.apply(activeDeadlineSeconds=3600)
    a, b = await group.play("a"), await group.play("b")
    await group.until_condition("Progressing", "True", "Training")
    a.leave()
    b.leave()
    await group.change(suspend=True)
    job = await group.until_condition("Suspended", "True", "SuspendedByUser")
    before_seconds = job["status"].get("activeSeconds", 0)
    await group.change(suspend=False)
    job = await group.until_attempt("a", 2)
    assert job["status"].get("activeSeconds", 0) == before_seconds
    students = [await group.play(name, 2) for name in "ab"]
    await run_to_the_end(students, summary)
    for one in students:
        one.leave()
        await group.exit(one.who.student, 0, 2)
    job = await group.until_condition("Complete", "True", "AllStudentsDone")
    assert job["status"]["restartsTotal"] == 0
    assert job["status"]["result"]["exact"] is True
    assert len(await group.until_told("Resumed")) == 1


async def test_suspended_time_does_not_count_against_the_deadline(group: Group):
    await group.apply(activeDeadlineSeconds=3, suspend=True)
    job = await group.until_condition("Suspended", "True", "SuspendedByUser")
    assert (job["status"].get("startTime"), await group.jobs()) == (None, [])
    await group.change(suspend=False)
    job = await group.until_condition("Failed", "True", "DeadlineExceeded", "active for 3 s (activeDeadlineSeconds)")
    assert job["status"]["activeSeconds"] == 3
    await group.api.until(
        PODS, lambda pods: not pods, group.namespace, selector=f"{group.selector()},{ROLE}=aggregator"
    )


async def test_a_wish_to_stop_reaches_the_aggregator_which_ends_after_that_cycle(group: Group, summary):
    await group.apply(method=TWO_CYCLES)
    await group.pod("a")
    await group.change(stopAfterCycle=1)
    await group.api.until(CONFIG_MAPS, _wishes_to_stop, group.namespace, name=f"{group.name}-control")
    students = [await group.play(name) for name in "ab"]  # the aggregator starts with the wish
    await run_to_the_end(students, summary, num_cycles=1)
    for one in students:
        one.leave()
        await group.exit(one.who.student, 0)
    await group.until_condition("Complete", "True", "AllStudentsDone")


async def test_students_take_turns_where_there_is_one_place(group: Group, summary):
    await group.apply(placement={"maximumConcurrentStudents": 1})
    evaluation = RoundKey(1, Split.EVALUATION)
    a = await group.play("a")
    assert await group.jobs() == ["a-a1"]
    await a.bring(RoundKey(1))
    await park(group, a)
    b = await group.play("b")
    await b.bring(RoundKey(1))
    await b.fetch(RoundKey(1))
    await b.bring(evaluation)
    await park(group, b)
    a = await group.play("a", 2)
    await a.fetch(RoundKey(1))
    await a.bring(evaluation)
    await a.fetch(evaluation)
    await a.finish(summary)
    a.leave()
    await group.exit("a", 0, 2)
    b = await group.play("b", 2)
    await b.fetch(evaluation)
    await b.finish(summary)
    b.leave()
    await group.exit("b", 0, 2)
    job = await group.until_condition("Complete", "True", "AllStudentsDone")
    assert job["status"]["restartsTotal"] == 0
    assert job["status"]["result"]["exact"] is True


async def test_half_a_job_gives_back_what_it_holds_and_in_the_end_fails(group: Group):
    """Complaint 6: a job that stays at its start without limit."""
    await group.apply(
        network("a"),
        network("b", pod={"nodeSelector": {"kubernetes.io/hostname": "nowhere"}}),
        startupDeadlineSeconds=1,
    )
    await group.aggregate()
    told = await group.until_told("Released")
    assert told[0] == "0 of 2 students joined within 1 s; all is given back and tried again"
    told = "students joined within 1 s (startupDeadlineSeconds), 3 times over"
    job = await group.until_condition("Failed", "True", "StartupDeadlineExceeded", told)
    assert student(job, "a")["attempt"] > 1
    assert job["status"]["restartsTotal"] == 0


async def test_a_job_is_deleted_when_its_time_after_the_end_is_over(group: Group):
    await group.apply(ttlSecondsAfterFinished=1)
    await group.exit("a", 80)
    await group.api.until(DISTILLJOBS, lambda jobs: not jobs, group.namespace, name=group.name)
    await group.api.until(JOBS, lambda jobs: not jobs, group.namespace, selector=group.selector())


KEPT = {
    "Running": {"services": 1, "configmaps": 2, "networkpolicies": 1, "secrets": 1, "deployments": 0},
    "All": {"services": 0, "configmaps": 0, "networkpolicies": 0, "secrets": 0, "deployments": 0},
    "Nothing": {"services": 1, "configmaps": 2, "networkpolicies": 1, "secrets": 1, "deployments": 1},
}


@pytest.mark.parametrize(("policy", "kept"), KEPT.items(), ids=KEPT)
async def test_what_stays_at_the_end_is_what_the_cleanup_policy_says(group: Group, policy, kept):
    await group.apply(cleanupPolicy=policy, security={})
    await group.pod("b")
    await group.exit("a", 80)
    await group.until_condition("Failed", "True", "FatalSpec")
    for kind in (SERVICES, CONFIG_MAPS, NETWORK_POLICIES, SECRETS, DEPLOYMENTS):
        num = kept[kind.rpartition("/")[2]]
        await group.api.until(
            kind, lambda found, num=num: len(found) == num, group.namespace, selector=group.selector()
        )
    await group.api.until(
        PODS, lambda pods: not any(map(_is_student_at_work, pods)), group.namespace, selector=group.selector()
    )
    assert "a-a1" in await group.jobs()
    assert len(await group.api.list(CLAIMS, group.namespace, selector=group.selector())) == 4


async def test_claims_go_or_stay_with_the_job_as_their_retention_says(group: Group):
    await group.apply("a")
    await group.pod("a")
    await group.api.delete(DISTILLJOBS, group.name, group.namespace)
    selector = group.selector()
    [kept] = await group.api.until(CLAIMS, lambda claims: len(claims) == 1, group.namespace, selector=selector)
    assert kept["metadata"]["name"].startswith(f"{group.name}-results-")
    await group.api.until(PODS, lambda pods: not pods, group.namespace, selector=selector)


async def test_the_newest_three_failed_attempts_stay_with_their_logs(group: Group):
    await group.apply()
    for attempt in range(1, 6):
        await group.exit("a", 1, attempt)
    await group.pod("a", 6)
    selector = group.selector("a")
    await group.api.until(JOBS, lambda jobs: len(jobs) == 4, group.namespace, selector=selector)
    assert await group.jobs() == ["a-a3", "a-a4", "a-a5", "a-a6", "b-a1"]
    pods = await group.api.until(PODS, lambda pods: len(pods) == 4, group.namespace, selector=selector)
    assert sum(pod["status"]["phase"] == "Failed" for pod in pods) == 3


async def test_an_outcome_never_changes_again(group: Group, site: Site):
    """Complaint 16: a terminal condition that flips."""
    await group.apply()
    await group.exit("a", 81)
    job = await group.until_condition("Failed", "True", "FatalData")
    failed = next(one for one in job["status"]["conditions"] if one["type"] == "Failed")
    await site.operator.kill()
    await group.api.delete(JOBS, f"{group.name}-a-a1", group.namespace, options={"propagationPolicy": "Background"})
    await group.change(ttlSecondsAfterFinished=3600)
    await site.operator.start()
    job = await group.until(lambda job: job["status"]["observedGeneration"] == job["metadata"]["generation"])
    assert failed in job["status"]["conditions"]
    assert condition(job, "Complete") == ("", "", "")
    assert job["status"]["phase"] == "Failed"
    assert (student(job, "a")["attempt"], job["status"]["restartsTotal"]) == (1, 0)


async def park(group: Group, played) -> None:
    """Leave as told, to make room for another one."""
    await played.until_directive(Directive.PARK)
    played.leave()
    await group.exit(played.who.student, 75, played.who.attempt)


async def roles(group: Group) -> list[str]:
    pods = await group.api.list(PODS, group.namespace, selector=group.selector())
    return sorted(pod["metadata"]["labels"][ROLE] for pod in pods)


def _wishes_to_stop(maps: list) -> bool:
    return json.loads(maps[0]["data"]["control.json"]) == {"stopAfterCycle": 1, "dropped": []}


def _is_leaving(pod: dict) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _is_student_at_work(pod: dict) -> bool:
    return pod["metadata"]["labels"][ROLE] == "student" and pod["status"]["phase"] in ("Pending", "Running")
