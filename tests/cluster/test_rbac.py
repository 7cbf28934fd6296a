"""The rights of deploy/manifests are those that the operator uses, no more and no fewer: the audit log says which."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from distilljob_core import names
from fault_proxy import FaultProxy, of, watches
from harness.aggregators import Aggregators
from harness.group import Group, Site, network
from harness.jobs import condition, student
from harness.operator_process import OperatorProcess, hasty
from rig.api import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    DISTILLJOBS,
    JOBS,
    NAMESPACES,
    NETWORK_POLICIES,
    PODS,
    SERVICE_ACCOUNTS,
    SERVICES,
    Api,
    Object,
)
from rig.control_plane import EVERY_REQUEST, ControlPlane

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
CLUSTER, NAMESPACED = DEPLOY / "manifests/rbac.yaml", DEPLOY / "manifests/rbac-namespaced.yaml"
SYSTEM, ACCOUNT = "distilljob-system", "distilljob-operator"
USER = f"system:serviceaccount:{SYSTEM}:{ACCOUNT}"
QUOTA = "api/v1/resourcequotas"
PATIENCE = {
    "call_seconds": 5.0,
    "no_pod_seconds": 1.0,
    "ask_again_seconds": 1.0,
    "unreachable_seconds": 1.0,
    "taken_seconds": 1.0,
    "status_seconds": 2.0,
}
Start = Callable[[OperatorProcess], Awaitable[OperatorProcess]]
Right = tuple[str, str, str]
"""Group, resource, verb."""

NOT_USED: dict[Right, str] = {}
"""Granted, and not used in the lives below: why it is granted all the same."""
NOT_GRANTED: dict[Right, str] = {}
"""Used, and not granted by us: why it is allowed all the same."""
CONTAINER = {"name": "c", "image": "none"}
PODS_OF = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [CONTAINER]}}
FOREIGN = (
    (JOBS, "taken-a-a1", {"template": {"spec": {"restartPolicy": "Never", "containers": [CONTAINER]}}}),
    (DEPLOYMENTS, "taken-aggregator", {"selector": {"matchLabels": {"app": "x"}}, "template": PODS_OF, "replicas": 0}),
    (SERVICES, "taken-aggregator", {"ports": [{"port": 80}]}),
    (CONFIG_MAPS, "taken-control", None),
    (NETWORK_POLICIES, "taken-network", {"podSelector": {}}),
)


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane(audit_policy=EVERY_REQUEST) as audited:
        audited.install_crds(DEPLOY / "crds")
        audited.kubectl("apply", f"--filename={CLUSTER}")
        yield audited


@pytest.fixture
async def admin(plane: ControlPlane) -> AsyncIterator[Api]:
    async with Api(plane.kubeconfig()) as client:
        yield client


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start an operator that ends with the test."""
    async with AsyncExitStack() as stack:

        async def starting(operator: OperatorProcess) -> OperatorProcess:
            await operator.start()
            stack.push_async_callback(operator.stop)
            return operator

        yield starting


async def new_namespace(admin: Api, name: str) -> str:
    await admin.create(NAMESPACES, {"metadata": {"name": name}})
    await admin.until(SERVICE_ACCOUNTS, bool, name, name="default")
    return name


def documents(path: Path) -> dict[str, Any]:
    return {f"{one['kind']} {one['metadata']['name']}": one for one in yaml.safe_load_all(path.read_text())}


def rights(*roles: Any) -> set[Right]:
    rules = [rule for role in roles for rule in role["rules"]]
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def used(requests: list[Object]) -> set[Right]:
    refs = [(request.get("objectRef", {}), request["verb"]) for request in requests]
    return {
        (ref.get("apiGroup", ""), "/".join(filter(None, (ref["resource"], ref.get("subresource")))), verb)
        for ref, verb in refs
        if "resource" in ref
    }


def by_operator(plane: ControlPlane) -> list[Object]:
    return [request for request in plane.audited() if request["user"]["username"] == USER]


def refused(requests: list[Object]) -> list[str]:
    return [f"{one['verb']} {one['requestURI']}" for one in requests if one["responseStatus"]["code"] in (401, 403)]


def is_up(job: Object) -> bool:
    return condition(job, "StudentsReady")[0] == "True"


async def crash_hang_suspend_and_resume(group: Group, proxy: FaultProxy) -> None:
    await group.apply(failurePolicy={"hang": {"steadySeconds": 2}}, security={"tls": "OperatorManaged"})
    await group.until(is_up)
    await group.exit("a", 1)
    hung = await group.play("a", 2)
    await group.play("b")
    hung.hang()
    await group.until_attempt("a", 3)
    held = proxy.hold(of("PUT", f"/{group.name}/status"))
    await group.change(suspend=True)
    await held.arrived.wait()
    await group.change(ttlSecondsAfterFinished=1000)
    held.open()
    await group.until_condition("Suspended", "True", "SuspendedByUser")
    await group.change(suspend=False)
    await group.until(lambda job: student(job, "a")["attempt"] == 4 and is_up(job))


async def lose_a_node(group: Group) -> None:
    lost = {"annotations": {"rig/unreachable": "true"}, "terminationGracePeriodSeconds": 1}
    policy = {"nodeLost": {"forceDeleteAfterSeconds": 1}}
    await group.apply(network("a", pod=lost), failurePolicy=policy)
    pod = await group.pod("a")
    await group.api.delete(PODS, pod["metadata"]["name"], group.namespace)
    job = await group.until(lambda job: student(job, "a").get("attempt") == 2)
    assert student(job, "a")["restarts"] == {"node": 1}


async def bring_up_to_date(group: Group) -> None:
    """What an older operator made has another digest; wishes change what is asked for."""
    await group.apply("a", method={"cycles": 3, "independentEpochs": 1, "distillEpochs": 1})
    await group.until(is_up)
    await group.change(stopAfterCycle=2)
    children = ((SERVICES, "aggregator"), (NETWORK_POLICIES, "network"), (CONFIG_MAPS, "control"))
    for kind, suffix in children[:2]:
        older = {"metadata": {"annotations": {names.ANNOTATION_DIGEST: "older"}}}
        await group.api.patch(kind, f"{group.name}-{suffix}", older, group.namespace)
    for kind, suffix in children:
        await group.api.until(kind, _is_up_to_date, group.namespace, name=f"{group.name}-{suffix}")


def _is_up_to_date(found: list[Object]) -> bool:
    managers = found[0]["metadata"]["managedFields"]
    applied = any(one["manager"] == "distilljob-operator" and one["operation"] == "Apply" for one in managers)
    return applied and found[0]["metadata"]["annotations"][names.ANNOTATION_DIGEST] != "older"


async def end_and_be_cleaned_up(group: Group) -> None:
    await group.apply("a", cleanupPolicy="All")
    await group.exit("a", 80)
    await group.until_condition("Failed", "True", "FatalSpec")
    for kind in (DEPLOYMENTS, SERVICES, NETWORK_POLICIES, CONFIG_MAPS):
        await group.api.until(kind, lambda left: not left, group.namespace, selector=group.selector())
    await group.change(ttlSecondsAfterFinished=0)
    await group.api.until(DISTILLJOBS, lambda left: not left, group.namespace, name=group.name)


async def get_no_pod(group: Group) -> None:
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    await group.api.create(QUOTA, quota, group.namespace)
    await group.api.until(QUOTA, lambda quotas: quotas and "hard" in quotas[0].get("status", {}), group.namespace)
    await group.apply("a")
    await group.until_condition("StudentsReady", "False", "StudentsPending", "exceeded quota")


async def find_names_taken(group: Group) -> None:
    for kind, name, spec in FOREIGN:
        body = {"metadata": {"name": name}} | ({"spec": spec} if spec else {})
        await group.api.create(kind, body, group.namespace)
    await group.apply("a")
    await group.until_condition("Valid", "False", "NameConflict")


async def make_a_claim_twice(group: Group, proxy: FaultProxy) -> None:
    """The answer is lost, and the watch is late: only a look says that the claim is there, and whose it is."""
    again = proxy.hold(watches("/persistentvolumeclaims"))
    proxy.drop(watches("/persistentvolumeclaims"))
    proxy.cut(of("POST", f"/{group.namespace}/persistentvolumeclaims"), forward=True)
    await group.apply("a")
    await group.until(is_up)
    await proxy.called(lambda call: call.verb == "GET" and f"persistentvolumeclaims/{group.name}" in call.path)
    again.open()


async def test_every_right_that_is_granted_is_needed_and_no_other(
    plane: ControlPlane, admin: Api, start: Start, aggregators: Aggregators, tmp_path: Path
) -> None:
    """Complaint 24: what is the least set of rights? Here it is derived from the audit log."""
    spaces = [await new_namespace(admin, name) for name in ("lives", "quota", "late")]
    kubeconfig = plane.service_account_kubeconfig(SYSTEM, ACCOUNT)
    flags = [f"--aggregator-url={aggregators.template}", "--lease", f"--lease-namespace={SYSTEM}"]
    async with FaultProxy(kubeconfig, tmp_path) as proxy:
        operator = await start(OperatorProcess(proxy.kubeconfig, None, tmp_path, *flags, program=hasty(**PATIENCE)))

        def group(name: str, space: str = "lives") -> Group:
            return Group(Site(admin, operator, aggregators, space, ()), name, space)

        await asyncio.gather(
            crash_hang_suspend_and_resume(group("whole"), proxy),
            lose_a_node(group("lost")),
            bring_up_to_date(group("older")),
            end_and_be_cleaned_up(group("ended")),
            find_names_taken(group("taken")),
            get_no_pod(group("none", spaces[1])),
        )
        await make_a_claim_twice(group("late", spaces[2]), proxy)
        assert await operator.stop() == 0
    requests = by_operator(plane)
    assert refused(requests) == []
    papers = documents(CLUSTER)
    granted = rights(papers[f"ClusterRole {ACCOUNT}"], papers[f"Role {ACCOUNT}-lease"])
    assert used(requests) - granted == NOT_GRANTED.keys()
    assert granted - used(requests) == NOT_USED.keys()
    assert {right for right in used(requests) if right[1] == "secrets"} == {("", "secrets", "create")}


async def test_the_rights_for_single_namespaces_are_the_same_and_suffice(
    plane: ControlPlane, admin: Api, start: Start, aggregators: Aggregators, tmp_path: Path
) -> None:
    namespaced, clusterwide = documents(NAMESPACED)[f"Role {ACCOUNT}"], documents(CLUSTER)[f"ClusterRole {ACCOUNT}"]
    assert namespaced["rules"] == clusterwide["rules"]
    space = await new_namespace(admin, "single")
    plane.kubectl("delete", "clusterrolebinding", ACCOUNT)
    plane.kubectl("apply", f"--filename={NAMESPACED}", f"--namespace={space}")
    num_requests = len(by_operator(plane))
    kubeconfig = plane.service_account_kubeconfig(SYSTEM, ACCOUNT)
    flags = [f"--aggregator-url={aggregators.template}", "--lease", f"--lease-namespace={SYSTEM}"]
    operator = await start(OperatorProcess(kubeconfig, space, tmp_path, *flags))
    group = Group(Site(admin, operator, aggregators, space, ()), "group", space)
    await group.apply(security={"tls": "OperatorManaged"})
    await group.exit("a", 1)
    await group.until(lambda job: student(job, "a").get("attempt") == 2 and is_up(job))
    assert await operator.stop() == 0
    assert refused(by_operator(plane)[num_requests:]) == []
