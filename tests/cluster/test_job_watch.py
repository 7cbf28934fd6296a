"""kopf on a real API server: it tells every change of a DistillJob, and does nothing else at all."""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from distilljob_core.spec.kubectl_yaml import read_yaml
from distilljob_operator.connection import connect
from distilljob_operator.credentials import credentials
from distilljob_operator.job_watch import JobWatch
from distilljob_operator.jobs import JobRecord, Jobs
from distilljob_operator.store import JobKey
from rig.api import DISTILLJOBS, EVENTS, Api, Object
from rig.control_plane import EVERY_REQUEST, ControlPlane

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLE = read_yaml((REPOSITORY / "examples/01-digits.yaml").read_text())
READ = {"apiGroups": ["distilljob.dev"], "resources": ["distilljobs"], "verbs": ["get", "list", "watch"]}
USER = {"kind": "User", "name": "operator", "apiGroup": "rbac.authorization.k8s.io"}
RBAC = "apis/rbac.authorization.k8s.io/v1"
LIMIT_SECONDS = 60.0


@pytest.fixture(scope="module")
def control_plane() -> Iterator[ControlPlane]:
    with ControlPlane(nodes={}, audit_policy=EVERY_REQUEST) as plane:
        plane.install_crds(REPOSITORY / "deploy/crds")
        yield plane


class Heard:
    """What the watch has told."""

    def __init__(self) -> None:
        self.jobs = Jobs()
        self.keys: list[JobKey] = []
        self._changed = asyncio.Event()

    def on_change(self, key: JobKey) -> None:
        self.keys.append(key)
        self._changed.set()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(LIMIT_SECONDS):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def version(self, body: Object) -> JobRecord:
        key = (body["metadata"]["namespace"], body["metadata"]["name"])
        version = int(body["metadata"]["resourceVersion"])
        await self.until(lambda: (found := self.jobs.get(key)) and found.resource_version >= version)
        found = self.jobs.get(key)
        assert found
        return found


@asynccontextmanager
async def watching(plane: ControlPlane, namespaces: Collection[str] = ()) -> AsyncIterator[tuple[JobWatch, Heard]]:
    """Watch as the user `operator`."""
    heard = Heard()
    async with connect(plane.kubeconfig("operator")) as connection:
        watch = JobWatch(heard.jobs, heard.on_change, lambda: credentials(connection.configuration), namespaces)
        await watch.start()
        failure = asyncio.create_task(watch.run())
        try:
            yield watch, heard
            assert not failure.done(), failure.exception()
        finally:
            failure.cancel()
            await watch.stop()


def job(name: str) -> Object:
    body = copy.deepcopy(EXAMPLE)
    body["metadata"] = {"name": name}
    return body


async def grant_everywhere(api: Api) -> None:
    role = {"metadata": {"name": "read-jobs"}, "rules": [READ]}
    reference = {"kind": "ClusterRole", "name": "read-jobs", "apiGroup": "rbac.authorization.k8s.io"}
    binding = {"metadata": {"name": "read-jobs"}, "roleRef": reference, "subjects": [USER]}
    await api.apply(f"{RBAC}/clusterroles", {"apiVersion": RBAC[5:], "kind": "ClusterRole", **role})
    await api.apply(f"{RBAC}/clusterrolebindings", {"apiVersion": RBAC[5:], "kind": "ClusterRoleBinding", **binding})


async def revoke_everywhere(api: Api) -> None:
    for binding in await api.list(f"{RBAC}/clusterrolebindings"):
        if binding["metadata"]["name"] == "read-jobs":
            await api.delete(f"{RBAC}/clusterrolebindings", "read-jobs")


async def grant_in(api: Api, namespace: str) -> None:
    role = {"metadata": {"name": "read-jobs"}, "rules": [READ]}
    reference = {"kind": "Role", "name": "read-jobs", "apiGroup": "rbac.authorization.k8s.io"}
    binding = {"metadata": {"name": "read-jobs"}, "roleRef": reference, "subjects": [USER]}
    await api.create(f"{RBAC}/roles", role, namespace)
    await api.create(f"{RBAC}/rolebindings", binding, namespace)


def requests_of_operator(plane: ControlPlane) -> list[Object]:
    return [entry for entry in plane.audited() if entry["user"]["username"] == "operator"]


def asked(entries: list[Object]) -> set[tuple[str, str]]:
    """Verb and resource, or verb and path of what is no resource."""
    return {
        (entry["verb"], entry["objectRef"]["resource"] if "objectRef" in entry else entry["requestURI"])
        for entry in entries
    }


async def test_kopf_asks_for_nothing_but_to_read_distilljobs(
    control_plane: ControlPlane, api: Api, namespace: str
) -> None:
    await grant_everywhere(api)
    before = len(requests_of_operator(control_plane))
    async with watching(control_plane) as (_, heard):
        await heard.version(await api.create(DISTILLJOBS, job("a"), namespace))
        await api.delete(DISTILLJOBS, "a", namespace)
        await heard.until(lambda: heard.jobs.get((namespace, "a")) is None)
    requests = requests_of_operator(control_plane)[before:]
    resources = {pair for pair in asked(requests) if not pair[1].startswith("/api")}
    assert resources == {("list", "distilljobs"), ("watch", "distilljobs")}
    assert {verb for verb, _ in asked(requests) - resources} == {"get"}  # discovery, which every user may read
    assert 403 not in {entry["responseStatus"]["code"] for entry in requests}


async def test_in_one_namespace_rights_in_that_namespace_are_enough(
    control_plane: ControlPlane, api: Api, namespace: str
) -> None:
    await revoke_everywhere(api)
    await grant_in(api, namespace)
    before = len(requests_of_operator(control_plane))
    async with watching(control_plane, [namespace]) as (_, heard):
        await api.create(DISTILLJOBS, job("unseen"), "default")
        await heard.version(await api.create(DISTILLJOBS, job("seen"), namespace))
        assert [record.key for record in heard.jobs] == [(namespace, "seen")]
    requests = requests_of_operator(control_plane)[before:]
    objects = [entry["objectRef"] for entry in requests if "objectRef" in entry]
    assert {(item["resource"], item["namespace"]) for item in objects} == {("distilljobs", namespace)}
    assert 403 not in {entry["responseStatus"]["code"] for entry in requests}


async def test_kopf_leaves_no_trace_on_a_job_and_makes_no_request_for_its_changes(
    control_plane: ControlPlane, api: Api, namespace: str
) -> None:
    await grant_everywhere(api)
    async with watching(control_plane) as (_, heard):
        await heard.version(await api.create(DISTILLJOBS, job("a"), namespace))
        await heard.version(await api.patch(DISTILLJOBS, "a", {"metadata": {"labels": {"n": "0"}}}, namespace))
        before = len(requests_of_operator(control_plane))
        for number in range(1, 6):
            labels = {"metadata": {"labels": {"n": str(number)}}}
            await heard.version(await api.patch(DISTILLJOBS, "a", labels, namespace))
            status = {"status": {"phase": "Training", "cycle": number}}
            await heard.version(await api.patch(DISTILLJOBS, "a", status, namespace, subresource="status"))
        assert len(requests_of_operator(control_plane)) == before
        found = await api.get(DISTILLJOBS, "a", namespace)
    assert "finalizers" not in found["metadata"]
    assert "annotations" not in found["metadata"]
    assert found["metadata"]["labels"] == {"n": "5"}
    assert await api.list(EVENTS, namespace) == []


async def test_a_job_that_is_made_anew_at_once_is_another_job(
    control_plane: ControlPlane, api: Api, namespace: str
) -> None:
    await grant_everywhere(api)
    async with watching(control_plane) as (watch, heard):
        for _ in range(10):
            former = await api.create(DISTILLJOBS, job("a"), namespace)
            await api.delete(DISTILLJOBS, "a", namespace)
        last = await api.create(DISTILLJOBS, job("a"), namespace)
        assert (await heard.version(last)).uid == last["metadata"]["uid"] != former["metadata"]["uid"]
        await heard.until(lambda: heard.jobs.was_removed(former["metadata"]["uid"]))
        assert not heard.jobs.update(former)  # the answer to a late write
        assert heard.jobs.get((namespace, "a")).uid == last["metadata"]["uid"]
        assert watch.delivered[namespace, "a"] >= int(last["metadata"]["resourceVersion"])
