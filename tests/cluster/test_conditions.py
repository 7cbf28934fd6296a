"""What the conditions of a DistillJob say in a cluster; those of failures stand with the failure taxonomy."""

import pytest

from harness.group import Group
from harness.jobs import condition
from harness.students import run_to_the_end
from rig.api import RESOURCE_QUOTAS, SERVICES

pytestmark = pytest.mark.asyncio(loop_scope="module")

AT_WORK = {
    "Valid": ("True", "SpecValid"),
    "AggregatorReady": ("True", "AggregatorAvailable"),
    "StudentsReady": ("True", "AllStudentsRunning"),
    "Progressing": ("True", "Training"),
    "ProgressObservable": ("True", "ProgressRead"),
    "Degraded": ("False", "Healthy"),
    "Suspended": ("False", "NotSuspended"),
}
DONE = {
    "Valid": ("True", "SpecValid"),
    "AggregatorReady": ("False", "AggregatorUnavailable"),
    "StudentsReady": ("False", "AllStudentsDone"),
    "Progressing": ("False", "AllStudentsDone"),
    "ProgressObservable": ("Unknown", "AllStudentsDone"),
    "Degraded": ("False", "Healthy"),
    "Suspended": ("False", "NotSuspended"),
    "Complete": ("True", "AllStudentsDone"),
}
TAKEN = {"metadata": {}, "spec": {"clusterIP": "None", "selector": {"app": "theirs"}, "ports": [{"port": 80}]}}


def conditions(job: dict) -> dict[str, tuple[str, str]]:
    return {one["type"]: (one["status"], one["reason"]) for one in job.get("status", {}).get("conditions", [])}


async def test_conditions_from_the_start_to_the_end(group: Group, summary):
    created = await group.apply()
    await group.until_condition("Progressing", "False", "Starting", "too few students have joined yet")
    students = [await group.play(name) for name in "ab"]
    job = await group.until(lambda job: conditions(job) == AT_WORK)
    assert job["status"]["phase"] == "Training"
    assert job["status"]["observedGeneration"] == created["metadata"]["generation"]
    await run_to_the_end(students, summary)
    for one in students:
        one.leave()
        await group.exit(one.who.student, 0)
    job = await group.until(lambda job: conditions(job) == DONE)
    assert job["status"]["phase"] == "Complete"
    assert condition(job, "Complete")[2] == "all students are done"


async def test_a_spec_that_only_the_operator_can_refuse_is_invalid_until_it_is_repaired(group: Group):
    taken = {"env": [{"name": "DISTILLJOB_ATTEMPT", "value": "7"}]}
    await group.apply(pod=taken)
    told = "spec.pod.env[0].name: names beginning with DISTILLJOB_ are set by the operator: choose another"
    job = await group.until_condition("Valid", "False", "SpecInvalid", told)
    assert job["status"]["phase"] == "Invalid"
    assert await group.jobs() == []
    await group.change(pod={"env": []})
    await group.until_condition("Valid", "True", "SpecValid")
    await group.pod("a")


async def test_a_name_that_somebody_elses_object_has_is_told(group: Group):
    name = f"{group.name}-aggregator"
    await group.api.create(SERVICES, TAKEN | {"metadata": {"name": name}}, group.namespace)
    await group.apply()
    told = f"the name of Service {group.namespace}/{name} is taken, it belongs to nobody: delete it"
    await group.until_condition("Valid", "False", "NameConflict", told)
    service = await group.api.get(SERVICES, name, group.namespace)
    assert service["spec"]["selector"] == {"app": "theirs"}


async def test_an_aggregator_that_cannot_start_is_told_with_the_kubelets_words(group: Group):
    await group.apply(aggregator={"pod": {"annotations": {"rig/waiting": "ImagePullBackOff"}}})
    await group.until_condition("AggregatorReady", "False", "AggregatorUnavailable", "ImagePullBackOff: the rig lets")
    told = "the aggregator cannot be asked: ImagePullBackOff"
    await group.until_condition("ProgressObservable", "False", "MetricsUnavailable", told)


async def test_a_student_in_back_off_is_told(group: Group):
    await group.apply(failurePolicy={"backoff": {"initialSeconds": 600, "maxSeconds": 600}})
    await group.exit("a", 1)
    job = await group.until_condition("StudentsReady", "False", "StudentsRestarting", "a: waits for its next attempt")
    row = next(row for row in job["status"]["students"] if row["name"] == "a")
    assert (row["phase"], row["attempt"], row["restarts"]) == ("BackOff", 1, {"crash": 1})
    assert row["backoffUntil"] > row["lastTermination"]["time"]
    assert await group.jobs() == ["a-a1", "b-a1"]


async def test_students_that_are_not_allowed_are_told_with_the_api_servers_words(group: Group):
    namespace = group.site.other_namespaces[0]
    group.namespace = namespace
    quota = {"metadata": {"name": "few"}, "spec": {"hard": {"count/jobs.batch": "1"}}}
    await group.api.create(RESOURCE_QUOTAS, quota, namespace)
    await group.api.until(RESOURCE_QUOTAS, lambda found: found[0].get("status", {}).get("used"), namespace)
    await group.apply()
    job = await group.until_condition("StudentsReady", "False", "StudentsPending", "exceeded quota: few")
    assert "NotCreated" in condition(job, "StudentsReady")[2]
    assert len(await group.jobs()) == 1
    assert job["status"]["restartsTotal"] == 0
