"""What does not run, and says why: rows of the failure taxonomy that end no attempt, on a real control plane.

Some take 30 s to be noticed; they all begin with the module, and their tests come last.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from harness.group import UNPLACED, Group, Site, network, short_name
from harness.jobs import condition, student
from rig.api import JOBS, NAMESPACES, PODS, RESOURCE_QUOTAS

pytestmark = pytest.mark.asyncio(loop_scope="module")

OUTSIDE = {"volumes": [{"name": "node", "hostPath": {"path": "/"}}]}
BRIEF = {"pod": {"terminationGracePeriodSeconds": 1}}


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def slow(site: Site) -> AsyncIterator[dict[str, Group]]:
    """Begin everything that is not to be judged at once."""
    limited, restricted = site.other_namespaces
    namespaces = {"quota": limited, "security": restricted}
    groups = {
        name: Group(site, short_name(name), namespaces.get(name, site.namespace))
        for name in ("collected", "quota", "security", "silent", "given-up")
    }
    await _collect(site, groups["collected"])
    await _limit(site, limited)
    await site.api.patch(
        NAMESPACES, restricted, {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    )
    await groups["quota"].apply(network("a", gpus=1), "b")
    await groups["security"].apply(network("a", pod=OUTSIDE), "b")
    await groups["silent"].apply(**BRIEF)
    await groups["given-up"].apply(**BRIEF, failurePolicy={"nodeLost": {"forceDeleteAfterSeconds": 1}})
    for name in ("silent", "given-up"):
        await _lose(groups[name])
    yield groups
    for group in groups.values():
        await group.close()


async def _collect(site: Site, group: Group) -> None:
    """Collect an attempt's pod, but not its Job, while no operator runs."""
    await group.apply()
    await group.play("a")
    pod = await group.pod("a")
    await site.operator.kill()
    await site.api.delete(PODS, pod["metadata"]["name"], group.namespace)
    await site.api.until(PODS, lambda pods: not pods, group.namespace, selector=group.selector("a"))
    await site.operator.start()


async def _limit(site: Site, namespace: str) -> None:
    quota = {"metadata": {"name": "no-gpus"}, "spec": {"hard": {"requests.nvidia.com/gpu": "0"}}}
    await site.api.create(RESOURCE_QUOTAS, quota, namespace)
    await site.api.until(RESOURCE_QUOTAS, lambda found: found[0].get("status", {}).get("used"), namespace)


async def _lose(group: Group) -> None:
    """Let a pod's node fall silent, and the control plane give it up: the pod is deleted, and stays."""
    name = (await group.pod("a"))["metadata"]["name"]
    await group.api.annotate(PODS, name, group.namespace, unreachable="yes")
    await group.api.delete(PODS, name, group.namespace)


async def test_what_nobody_can_schedule_waits_with_the_schedulers_words(group: Group):
    await group.apply(network("a", pod=UNPLACED), "b")
    job = await group.until_condition("StudentsReady", "False", "StudentsPending", "node affinity/selector")
    assert condition(job, "StudentsReady")[2].startswith("a: Unschedulable: 0/")
    assert (student(job, "a")["attempt"], job["status"]["restartsTotal"]) == (1, 0)


async def test_a_student_that_waits_for_a_node_does_not_run_in_the_metrics_either(group: Group):
    async def running_attempt(name: str) -> float:
        labels = {"namespace": group.namespace, "distilljob": group.name, "student": name}
        return await group.site.operator.metric("distilljob_student_running_attempt", **labels)

    await group.apply(network("a", pod=UNPLACED), "b")
    await group.until_condition("StudentsReady", "False", "StudentsPending", "node affinity/selector")
    async with asyncio.timeout(30):
        while await running_attempt("b") != 1:  # noqa: ASYNC110 - pages of another process cannot be awaited
            await asyncio.sleep(0.1)
    assert await running_attempt("a") == 0


@pytest.mark.parametrize("reason", ["ImagePullBackOff", "CreateContainerConfigError"])
async def test_a_pod_that_cannot_start_waits_with_the_kubelets_words_until_it_can(group: Group, reason):
    await group.apply(network("a", pod={"annotations": {"rig/waiting": reason}}), "b")
    told = f"a: {reason}: the rig lets"
    job = await group.until_condition("StudentsReady", "False", "StudentsPending", told)
    assert job["status"]["restartsTotal"] == 0
    [pod] = await group.api.list(PODS, group.namespace, selector=group.selector("a"))
    await group.api.annotate(PODS, pod["metadata"]["name"], group.namespace, waiting=None)
    job = await group.until_condition("StudentsReady", "True", "AllStudentsRunning")
    assert student(job, "a")["podUID"] == pod["metadata"]["uid"]


@pytest.mark.parametrize(
    ("pod", "named"),
    [
        ({"volumes": [{"name": "data", "persistentVolumeClam": {"claimName": "data"}}]}, "persistentVolumeClam"),
        ({"securityContext": {"runAsUsr": 1}}, "runAsUsr"),
        ({"env": [{"name": "A", "valueFrom": {"secretKeyReff": {"name": "a", "key": "b"}}}]}, "secretKeyReff"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_misspelled_field_of_a_pod_is_named_and_not_dropped(group: Group, pod, named):
    await group.apply(network("a", pod=pod), "b")
    await group.until_condition("StudentsReady", "False", "StudentsPending", 'unknown field "spec.template.spec.')
    job = await group.until_condition("StudentsReady", "False", "StudentsPending", named)
    assert (student(job, "a")["attempt"], job["status"]["restartsTotal"]) == (1, 0)


async def test_what_keeps_a_pod_from_running_is_told_at_once_however_late_it_comes(group: Group):
    await group.apply(network("a", pod={"annotations": {"rig/waiting": "ContainerCreating"}}), "b")
    await group.until_condition("AggregatorReady", "True", "AggregatorAvailable")
    await group.pod("b")
    [pod] = await group.api.list(PODS, group.namespace, selector=group.selector("a"))
    await group.api.annotate(PODS, pod["metadata"]["name"], group.namespace, waiting="ErrImagePull")
    await group.until(lambda job: "ErrImagePull" in condition(job, "StudentsReady")[2], limit_seconds=30)


async def test_a_job_that_somebody_suspends_before_it_has_a_pod_waits(group: Group):
    group.namespace, _ = group.site.other_namespaces  # no pod of this student is allowed there
    await group.apply(network("a", gpus=1), "b")
    name = f"{group.name}-a-a1"
    await group.api.until(JOBS, bool, group.namespace, name=name)
    await group.api.patch(JOBS, name, {"spec": {"suspend": True}}, group.namespace)
    told = f"a: JobSuspended: Job {name} was suspended by somebody else"
    job = await group.until_condition("StudentsReady", "False", "StudentsPending", told)
    assert (student(job, "a")["attempt"], job["status"]["restartsTotal"]) == (1, 0)


async def test_a_job_that_somebody_suspends_while_it_runs_has_lost_its_pod(group: Group):
    """A second pod would be another attempt, and one attempt has one pod."""
    await group.apply(failurePolicy={"maxRestartsPerStudent": 0})
    await group.play("a")
    await group.api.patch(JOBS, f"{group.name}-a-a1", {"spec": {"suspend": True}}, group.namespace)
    job = await group.until_attempt("a", 2)
    assert student(job, "a")["restarts"] == {"deleted": 1}
    await group.pod("a", 2)
    assert student(job, "b")["attempt"] == 1


async def test_a_pod_collected_while_no_operator_runs_is_replaced_once(slow):
    """Complaint 11: what happens while the controller restarts is lost."""
    job = await slow["collected"].until_attempt("a", 2)
    assert student(job, "a")["restarts"] == {"deleted": 1}
    assert student(job, "b")["attempt"] == 1
    assert len(await slow["collected"].until_told("StudentDeleted")) == 1


async def test_a_job_without_a_pod_says_that_a_quota_is_used_up(slow):
    job = await slow["quota"].until_condition("StudentsReady", "False", "StudentsPending", "exceeded quota: no-gpus")
    assert condition(job, "StudentsReady")[2].startswith("a: NoPod: ")
    assert (student(job, "a")["attempt"], job["status"]["restartsTotal"]) == (1, 0)


async def test_a_job_without_a_pod_says_that_pod_security_forbids_it(slow):
    told = 'violates PodSecurity "restricted:latest"'
    job = await slow["security"].until_condition("StudentsReady", "False", "StudentsPending", told)
    assert "hostPath" in condition(job, "StudentsReady")[2]
    assert (student(job, "a")["attempt"], job["status"]["restartsTotal"]) == (1, 0)


async def test_an_attempt_on_a_silent_node_is_waited_for(slow):
    """Complaint 1: a node dies, its pod stays, and the job says for ever that it restarts."""
    job = await slow["silent"].until_condition("StudentsReady", "False", "NodeUnreachable", "its node does not answer")
    assert (student(job, "a")["attempt"], job["status"]["restartsTotal"]) == (1, 0)


async def test_an_attempt_on_a_silent_node_is_given_up_where_the_user_says_so(slow):
    """Complaint 10: a replacement that waits for a pod that will never be gone."""
    job = await slow["given-up"].until_attempt("a", 2)
    assert student(job, "a")["restarts"] == {"node": 1}
    await slow["given-up"].pod("a", 2)
    assert "a-a1" not in await slow["given-up"].jobs()
    assert student(job, "b")["attempt"] == 1
