"""What the job stands on goes away under it: its namespace, its kind, its operator. Nothing hangs, nothing is left."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from fault_proxy import FaultProxy
from harness.aggregators import Aggregators
from harness.group import Group, Site
from harness.jobs import condition, student
from harness.operator_process import OperatorProcess, hasty
from rig.api import (
    CLAIMS,
    CONFIG_MAPS,
    DEPLOYMENTS,
    DISTILLJOBS,
    JOBS,
    LEASES,
    NAMESPACES,
    NETWORK_POLICIES,
    PODS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    Api,
    Object,
)
from rig.cluster import Cluster
from rig.control_plane import ControlPlane

CHILDREN = (PODS, JOBS, DEPLOYMENTS, SERVICES, CONFIG_MAPS, NETWORK_POLICIES, SECRETS, CLAIMS)
CRDS = Path(__file__).resolve().parents[2] / "deploy/crds"
DEFINITION = "distilljobs.distilljob.dev"
DEFINITIONS = "apis/apiextensions.k8s.io/v1/customresourcedefinitions"
OWN_FINALIZERS = {"kubernetes.io/pvc-protection", "batch.kubernetes.io/job-tracking"}
"""Kubernetes' own, which its controllers take away."""
TLS = {"security": {"tls": "OperatorManaged"}}


def is_up(job: Object) -> bool:
    return condition(job, "StudentsReady")[0] == "True"


async def children(group: Group) -> dict[str, set[str]]:
    """Name what there is of a job, by kind."""
    found = {kind: await group.api.list(kind, group.namespace, selector=group.selector()) for kind in CHILDREN}
    return {kind: {one["metadata"]["name"] for one in there} for kind, there in found.items() if there}


async def until_gone(group: Group, *kinds: str) -> None:
    for kind in kinds or CHILDREN:
        await group.api.until(kind, lambda left: not left, group.namespace, selector=group.selector())


async def assert_no_finalizers(group: Group) -> None:
    for kind in (DISTILLJOBS, *CHILDREN):
        for one in await group.api.list(kind, group.namespace):
            assert set(one["metadata"].get("finalizers", ())) <= OWN_FINALIZERS, one["metadata"]["name"]


@pytest.fixture
async def make(
    api: Api, proxy: FaultProxy, namespace: str, aggregators: Aggregators, tmp_path: Path
) -> AsyncIterator[Callable[..., OperatorProcess]]:
    """Make operators for the test's namespace, each with its name; they end with the test."""
    patience = {"lease_duration_seconds": 3, "lease_renew_seconds": 0.5, "lease_lost_seconds": 2.0}
    async with AsyncExitStack() as stack:

        def new(name: str, *flags: str) -> OperatorProcess:
            folder = tmp_path / name
            folder.mkdir()
            all_flags = [f"--aggregator-url={aggregators.template}", f"--identity={name}", *flags]
            process = OperatorProcess(proxy.kubeconfig, namespace, folder, *all_flags, program=hasty(**patience))
            stack.push_async_callback(process.stop)
            return process

        yield new


@pytest.fixture
def at(api: Api, namespace: str, aggregators: Aggregators) -> Callable[[OperatorProcess], Group]:
    """Give a job of an operator's."""
    return lambda operator: Group(Site(api, operator, aggregators, namespace, ()), "group", namespace)


async def test_a_namespace_with_live_jobs_goes_and_its_neighbors_notice_nothing(
    make: Callable[..., OperatorProcess], aggregators: Aggregators, api: Api, namespace: str, proxy: FaultProxy
) -> None:
    """Complaint 25: no finalizer blocks it, and nobody goes on trying for ever."""
    dying = f"dying-{namespace[-40:]}"
    await api.create(NAMESPACES, {"metadata": {"name": dying}})
    await api.until(SERVICE_ACCOUNTS, bool, dying, name="default")
    operator = make("first", f"--namespace={dying}")
    await operator.start()
    spaces = (dying, namespace)
    going, staying = (Group(Site(api, operator, aggregators, space, ()), "group", space) for space in spaces)
    for group in (going, staying):
        await group.apply(**TLS)
        await group.until(is_up)
    before = await children(staying)
    await api.delete(NAMESPACES, dying)
    await api.until(NAMESPACES, lambda left: not left, name=dying)
    num_calls = len(proxy.calls)
    await staying.looks(3)
    assert [str(call) for call in proxy.calls[num_calls:] if call.is_mutating] == []
    assert await children(staying) == before
    assert await operator.metric("distilljob_operator_reconciles_total", result="failed") == 0
    assert (await operator.page("/livez"))[0] == 200


async def test_a_kind_that_is_deleted_takes_its_jobs_along_and_can_come_back(
    behind: Group, control_plane: Cluster
) -> None:
    if not isinstance(control_plane, ControlPlane):
        pytest.skip("others may use the kind in a cluster that was there before")
    operator = behind.site.operator
    await behind.apply(**TLS)
    await behind.until(is_up)
    try:
        await behind.api.delete(DEFINITIONS, DEFINITION)
        await behind.api.until(DEFINITIONS, lambda left: not left, name=DEFINITION)
        await until_gone(behind, *(kind for kind in CHILDREN if kind != CLAIMS))
        assert await operator.wait() == 1
        with pytest.raises(AssertionError):
            await operator.start()
        [failed] = operator.events("failed")
        assert "deploy/crds/distilljobs.yaml" in failed["error"]
    finally:
        control_plane.install_crds(CRDS)
    await operator.start()
    await behind.apply()
    await behind.until(is_up)


async def test_an_operator_that_is_uninstalled_first_leaves_nothing_that_hangs(
    behind: Group, kubectl: Callable[..., str]
) -> None:
    """Complaint 25: a finalizer of an operator that is gone blocks whatever is deleted."""
    made = await behind.apply(**TLS)
    await behind.until(is_up)
    assert (await children(behind)).keys() == set(CHILDREN)
    await assert_no_finalizers(behind)
    assert await behind.site.operator.stop() == 0
    kubectl("delete", "distilljob", behind.name, f"--namespace={behind.namespace}", "--timeout=30s")
    await until_gone(behind, *(kind for kind in CHILDREN if kind != CLAIMS))
    kept = f"group-results-{made['metadata']['uid'][:8]}"
    await behind.api.until(CLAIMS, lambda left: [one["metadata"]["name"] for one in left] == [kept], behind.namespace)


async def test_a_job_changed_while_nobody_looked_is_as_it_was_changed(behind: Group) -> None:
    operator = behind.site.operator
    await behind.apply(method={"cycles": 3, "independentEpochs": 1, "distillEpochs": 1})
    await behind.until(is_up)
    await operator.kill()
    await behind.change(suspend=True)
    await operator.start()
    await behind.until_condition("Suspended", "True", "SuspendedByUser")
    assert not (await children(behind)).keys() & {PODS, DEPLOYMENTS}
    await operator.kill()
    await behind.change(suspend=False, stopAfterCycle=1)
    await operator.start()
    job = await behind.until(is_up)
    assert [row["attempt"] for row in job["status"]["students"]] == [2, 2]
    assert job["status"]["restartsTotal"] == 0
    wishes = await behind.api.get(CONFIG_MAPS, "group-control", behind.namespace)
    assert json.loads(wishes["data"]["control.json"])["stopAfterCycle"] == 1


async def test_a_job_deleted_while_nobody_looked_is_gone_and_its_name_free(behind: Group) -> None:
    operator = behind.site.operator
    old = await behind.apply()
    await behind.exit("a", 1)
    await behind.until_attempt("a", 2)
    await behind.until(is_up)
    await operator.kill()
    await behind.api.delete(DISTILLJOBS, behind.name, behind.namespace)
    await operator.start()
    await until_gone(behind, JOBS, PODS, DEPLOYMENTS, SERVICES, CONFIG_MAPS)
    new = await behind.apply()
    assert new["metadata"]["uid"] != old["metadata"]["uid"]
    job = await behind.until(is_up)
    assert [row["attempt"] for row in job["status"]["students"]] == [1, 1]
    assert await operator.metric("distilljob_operator_reconciles_total", result="failed") == 0


async def test_an_upgraded_operator_touches_nothing_that_runs(
    make: Callable[..., OperatorProcess], at: Callable[..., Group], api: Api, namespace: str
) -> None:
    """Complaint 22: the upgrade of an operator restarts what runs."""
    old, new = make("old"), make("new", "--trainer-image=trainer:2", "--aggregator-image=aggregator:2")
    await old.start()
    group = at(old)
    await group.apply()
    await group.until(is_up)
    before = {pod["metadata"]["uid"] for pod in await api.list(PODS, namespace)}
    await old.stop()
    await new.start()
    await group.exit("a", 1)
    pod = await group.pod("a", 2)
    assert pod["spec"]["containers"][0]["image"] == "trainer:2"
    pods = {pod["metadata"]["uid"]: pod for pod in await api.list(PODS, namespace)}
    assert pods.keys() == {*before, pod["metadata"]["uid"]}
    [deployment] = await api.list(DEPLOYMENTS, namespace)
    assert (deployment["metadata"]["generation"], deployment["status"]["updatedReplicas"]) == (1, 1)


async def test_a_back_off_outlives_the_operator(behind: Group) -> None:
    """Complaint 12: a controller that restarts forgets who is to wait, and for how long."""
    operator = behind.site.operator
    await behind.apply(failurePolicy={"backoff": {"initialSeconds": 1000, "baseSeconds": 1000, "maxSeconds": 1000}})
    await behind.exit("a", 1)
    before = student(await behind.until(lambda job: "backoffUntil" in student(job, "a")), "a")
    await behind.pod("b")
    await operator.kill()
    await operator.start()
    await behind.exit("b", 1)
    after = student(await behind.until(lambda job: "backoffUntil" in student(job, "b")), "a")
    told = ("attempt", "backoffUntil", "restarts")
    assert [after.get(name) for name in told] == [before.get(name) for name in told]
    assert await behind.jobs() == ["a-a1", "b-a1"]


def held_by(holder: str) -> Callable[[list[Object]], bool]:
    return lambda leases: leases and leases[0]["spec"].get("holderIdentity") == holder


async def with_lease(make: Callable[..., OperatorProcess], namespace: str, *names: str) -> list[OperatorProcess]:
    return [make(name, "--lease", f"--lease-namespace={namespace}") for name in names]


async def test_the_second_operator_takes_over_when_the_first_is_killed(
    make: Callable[..., OperatorProcess], at: Callable[..., Group], api: Api, namespace: str
) -> None:
    first, second = await with_lease(make, namespace, "first", "second")
    await first.start()
    group = at(first)
    await group.apply()
    await group.until(is_up)
    starting = asyncio.create_task(second.start())
    await first.kill()
    await group.exit("a", 1)
    await starting
    await api.until(LEASES, held_by("second"), namespace)
    await group.pod("a", 2)
    job = await group.until(lambda job: student(job, "a").get("attempt") == 2 and is_up(job))
    assert [row.get("restarts") for row in job["status"]["students"]] == [{"crash": 1}, None]
    assert await group.jobs() == ["a-a1", "a-a2", "b-a1"]


async def test_an_operator_that_was_frozen_ends_when_it_wakes_and_finds_its_lease_taken(
    make: Callable[..., OperatorProcess], at: Callable[..., Group], api: Api, namespace: str
) -> None:
    first, second = await with_lease(make, namespace, "first", "second")
    await first.start()
    group = at(second)
    await group.apply()
    await group.until(is_up)
    first.send(signal.SIGSTOP)
    await second.start()
    await api.until(LEASES, held_by("second"), namespace)
    await group.exit("a", 1)
    await group.pod("a", 2)
    first.send(signal.SIGCONT)
    assert await first.wait() == 1
    [failed] = first.events("failed")
    assert "lease" in failed["error"]
    await group.looks(1)
    job = await group.until(lambda job: student(job, "a").get("attempt") == 2 and is_up(job))
    assert job["status"]["restartsTotal"] == 1
    assert await group.jobs() == ["a-a1", "a-a2", "b-a1"]
    assert len(await group.until_told("StudentCrashed")) == 1
