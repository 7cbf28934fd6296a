"""Names that somebody else has, or had: nothing is inherited, nothing is adopted, and the user is told what to do."""

import json

import pytest

from fault_proxy import FaultProxy, of
from harness.group import AT_ONCE, Group, network
from harness.jobs import condition, distilljob, student
from rig.api import CLAIMS, CONFIG_MAPS, DISTILLJOBS, JOBS, PODS, SERVICES, Api, Object

SOON = pytest.mark.parametrize("behind", [{"taken_seconds": 1.0}], indirect=True)
"""A taken name is tried again every second."""
FROZEN = {"rig/frozen": "true"}
UID = "distilljob.dev/uid"


def is_up(job: Object) -> bool:
    return condition(job, "StudentsReady")[0] == "True"


def has_conflict(job: Object) -> bool:
    return condition(job, "Valid")[:2] == ("False", "NameConflict")


async def test_a_job_deleted_and_applied_at_once_inherits_nothing(behind: Group, kubectl) -> None:
    manifest = distilljob(
        behind.name,
        students=[network("a"), network("b")],
        failurePolicy=AT_ONCE,
        pod={"annotations": FROZEN, "terminationGracePeriodSeconds": 6},
    )
    await behind.api.create(DISTILLJOBS, manifest, behind.namespace)
    await behind.exit("a", 1)
    await behind.until_attempt("a", 2)
    await behind.pod("a", 2)
    old = await behind.until(is_up)
    before = await students_pods(behind)
    kubectl("delete", "distilljob", behind.name, f"--namespace={behind.namespace}")
    kubectl("apply", f"--namespace={behind.namespace}", "--filename=-", stdin=json.dumps(manifest))
    new = await behind.until(lambda job: job["metadata"]["uid"] != old["metadata"]["uid"] and is_up(job))
    pods = await students_pods(behind)
    own = {name: uid for name, uid in pods.items() if uid not in before.values()}
    assert sorted(name.rsplit("-", 1)[0] for name in own) == ["group-a-a1", "group-b-a1"]
    assert {student(new, name)["podUID"] for name in "ab"} == set(own.values())
    leaving = set(pods.values()) & set(before.values())
    assert leaving, "the old pods were to be there still"
    await behind.api.until(PODS, lambda left: leaving.isdisjoint(uids(left)), behind.namespace)
    await behind.looks(2)
    job = await behind.until(is_up)
    assert [(row["attempt"], row.get("restarts")) for row in job["status"]["students"]] == [(1, None), (1, None)]
    assert job["status"]["restartsTotal"] == 0
    claims = await behind.api.list(CLAIMS, behind.namespace, selector=f"{UID}={new['metadata']['uid']}")
    assert len(claims) == 4, "state, results, and a checkpoint for each"
    assert set(own.values()) <= set((await students_pods(behind)).values())


async def students_pods(group: Group) -> dict[str, str]:
    pods = await group.api.list(PODS, group.namespace, selector="distilljob.dev/student")
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in pods}


def uids(found: list[Object]) -> set[str]:
    return {one["metadata"]["uid"] for one in found}


@SOON
async def test_a_second_job_whose_names_collide_waits_and_leaves_the_first_alone(behind: Group) -> None:
    first, second = (Group(behind.site, name, behind.namespace) for name in ("a-b", "a"))
    await first.apply("c")
    await first.until(is_up)
    before = await students_pods(behind)
    await second.apply("b-c", "d")
    told = condition(await second.until(has_conflict), "Valid")[2]
    namespace = behind.namespace
    assert told == (
        f"the name of Job {namespace}/a-b-c-a1 is taken, it belongs to DistillJob a-b: delete it, or give the "
        "DistillJob another name"
    )
    await behind.site.operator.kill()
    await behind.site.operator.start()
    await second.pod("d")
    job = await second.until(has_conflict)
    assert student(job, "b-c").get("restarts") is None
    assert before.items() <= (await students_pods(behind)).items()
    assert (await first.until(is_up))["status"]["restartsTotal"] == 0
    await behind.api.delete(DISTILLJOBS, "a-b", namespace)
    job = await second.until(lambda job: condition(job, "Valid")[0] == "True" and is_up(job))
    assert (student(job, "b-c")["attempt"], job["status"]["restartsTotal"]) == (1, 0)


FOREIGN = {
    "Service": (SERVICES, "group-aggregator", {"spec": {"ports": [{"port": 80}]}}),
    "ConfigMap": (CONFIG_MAPS, "group-control", {"data": {"control.json": "{}"}}),
    "Job": (
        JOBS,
        "group-a-a1",
        {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "none"}]}}}},
    ),
}


@SOON
@pytest.mark.parametrize(("kind", "name", "body"), FOREIGN.values(), ids=FOREIGN)
async def test_an_object_of_somebody_else_is_neither_used_nor_changed(
    behind: Group, proxy: FaultProxy, kind: str, name: str, body: Object
) -> None:
    made = await behind.api.create(kind, {"metadata": {"name": name}} | body, behind.namespace)
    await behind.apply()
    told = condition(await behind.until(has_conflict), "Valid")[2]
    assert f"{behind.namespace}/{name} is taken, it belongs to nobody: delete it" in told
    found = await behind.api.get(kind, name, behind.namespace)
    assert found["metadata"]["uid"] == made["metadata"]["uid"]
    assert "distilljob.dev/job" not in found["metadata"].get("labels", {})
    changes = [call for call in proxy.calls if call.verb in ("PUT", "PATCH", "DELETE")]
    assert [call for call in changes if not of("PUT", "/status")(call)] == []
    await behind.api.delete(kind, name, behind.namespace, options={"propagationPolicy": "Background"})
    job = await behind.until(lambda job: condition(job, "Valid")[0] == "True" and is_up(job))
    assert [(row["attempt"], row.get("restarts")) for row in job["status"]["students"]] == [(1, None), (1, None)]
    assert (await behind.api.get(kind, name, behind.namespace))["metadata"]["uid"] != made["metadata"]["uid"]


async def test_what_belongs_to_an_earlier_job_of_that_name_is_waited_for(behind: Group, api: Api) -> None:
    """The garbage collector comes late; the user is told of no conflict, for there is none."""
    held = {"metadata": {"name": "group-control", "finalizers": ["tests.distilljob.dev/hold"]}}
    owner = {
        "apiVersion": "distilljob.dev/v1alpha1",
        "kind": "DistillJob",
        "name": "group",
        "uid": "00000000-0000-4000-8000-000000000000",
        "controller": True,
    }
    held["metadata"] |= {"ownerReferences": [owner], "labels": {"distilljob.dev/job": "group", UID: owner["uid"]}}
    await api.create(CONFIG_MAPS, held, behind.namespace)
    await behind.apply("a")
    await behind.pod("a")
    job = await behind.until(is_up)
    assert condition(job, "Valid")[0] == "True"
    await api.patch(CONFIG_MAPS, "group-control", {"metadata": {"finalizers": None}}, behind.namespace)
    [ours] = await api.until(
        CONFIG_MAPS,
        lambda maps: maps and maps[0]["metadata"]["labels"][UID] == job["metadata"]["uid"],
        behind.namespace,
        name="group-control",
    )
    assert ours["metadata"]["uid"]
