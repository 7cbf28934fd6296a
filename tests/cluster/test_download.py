"""`distilljob download` on a real API server and scheduler: the reader, its rights, its node, its end.

Nodes are fake. Their kubelets run the programs that the command sends here, on a folder of this machine; the same with
a real node is in tests/e2e.
"""

import asyncio
import hashlib
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

import distilljob as door
from distilljob_core.results import Artifact, RunResult, StudentResult
from distilljob_core.spec.load import check_job
from distilljob_operator.manifests.jobs import student_job
from distilljob_operator.manifests.settings import unnamed_images
from distilljob_operator.manifests.storage import claims
from fault_proxy import of
from harness.exec_kubelet import ExecKubelet
from harness.jobs import distilljob
from rig.api import CLAIMS, DISTILLJOBS, JOBS, NAMESPACES, NODES, PODS, RESOURCE_QUOTAS, Api, Object
from rig.control_plane import ControlPlane
from rig.pod_network import PodNetwork

CRDS = Path(__file__).resolve().parents[2] / "deploy/crds"
LIMIT_SECONDS = 240.0
NOW = "2026-01-02T03:00:00Z"
DOCUMENTED = {
    ("distilljob.dev", "distilljobs"): ["get"],
    ("", "persistentvolumeclaims"): ["get"],
    ("", "pods"): ["list", "get", "create", "delete"],
    ("", "pods/exec"): ["get", "create"],
}
"""The rights that docs/reference/cli.md says."""
Start = Callable[..., Awaitable[asyncio.subprocess.Process]]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> PodNetwork:
    return PodNetwork(tmp_path_factory.mktemp("net"))


@pytest.fixture(scope="module")
def control_plane(network: PodNetwork) -> Iterator[ControlPlane]:
    """A control plane of this module's own, whose API server reaches kubelets."""
    with ControlPlane(api_server=[network.flag]) as plane:
        plane.install_crds(CRDS)
        yield plane


@pytest.fixture(scope="module")
def crd(control_plane: ControlPlane) -> None:
    """Installed with the control plane."""


@pytest.fixture
def results(tmp_path: Path, summary: Callable) -> Path:
    """What a job of one student has published."""
    folder = tmp_path / "volume"
    folder.mkdir()
    weights = os.urandom(300_000)
    (folder / "a.safetensors").write_bytes(weights)
    (folder / "a.json").write_text("{}")
    (folder / "a-metrics.jsonl").write_text("{}\n")
    (folder / ".a.safetensors.1.part").write_bytes(b"half")
    sent = Artifact(
        name="a.safetensors", size_bytes=len(weights), sha256=hashlib.sha256(weights).hexdigest(), kind="last"
    )
    student = StudentResult(**summary("a", artifacts=[sent]).model_dump(), restarts=0, barrier_share=0.0)
    known = {"name": "group", "uid": "u", "method": "MD", "cycles": 1, "exact": True, "inexact_reasons": []}
    known |= {"ensemble": None, "teacher_gain": [], "best": "a", "seconds": 1.0, "exchanged_bytes": {}}
    (folder / "result.json").write_text(RunResult(students=[student], **known).model_dump_json(by_alias=True))
    return folder


@pytest.fixture
async def kubelet(control_plane: ControlPlane, network: PodNetwork, results: Path) -> AsyncIterator[ExecKubelet]:
    keys = control_plane.keys
    kubelets = ExecKubelet(results)
    async with network.opened(), kubelets.opened(network, keys.path("apiserver.crt"), keys.path("apiserver.key")):
        yield kubelets


@pytest.fixture
async def team(api: Api, namespace: str) -> str:
    """Give a namespace that refuses what the restricted Pod Security Standard does not allow."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    await api.patch(NAMESPACES, namespace, {"metadata": {"labels": labels}})
    return namespace


@pytest.fixture
async def complete(api: Api, team: str, crd: None) -> Callable[..., Awaitable[Object]]:
    """Make a job that is complete, with the claims and the Job of its student that the operator has made."""

    async def make(**spec: object) -> Object:
        body = await api.create(DISTILLJOBS, distilljob("group", "a", **spec), team)
        job = check_job(body)
        for claim in claims(job):
            await api.create(CLAIMS, claim, team)
        await api.create(JOBS, student_job(job, "a", 1, unnamed_images("1")), team)
        is_up = lambda pods: pods and pods[0]["status"]["phase"] == "Running"  # noqa: E731
        (pod,) = await api.until(PODS, is_up, team, selector="distilljob.dev/role=student")
        await api.annotate(PODS, pod["metadata"]["name"], team, exit_code="0")
        shown = {"bestStudent": "a", "accuracy": 0.9, "exact": True}
        status = {"phase": "Complete", "startTime": NOW, "result": shown}
        return await api.patch(DISTILLJOBS, "group", {"status": status}, team, subresource="status")

    return make


@pytest.fixture
def start(control_plane: ControlPlane, team: str, tmp_path: Path, uncovered: dict[str, str]) -> Start:
    """Start the command as a process of its own."""

    async def started(*flags: str, kubeconfig: Path | None = None) -> asyncio.subprocess.Process:
        options = [f"--kubeconfig={kubeconfig or control_plane.kubeconfig()}", f"--namespace={team}", *flags]
        command = [sys.executable, "-m", "distilljob.main", "download", "group", str(tmp_path / "here"), *options]
        return await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE, env=uncovered)

    return started


@pytest.fixture
def run(start: Start) -> Callable[..., Awaitable[tuple[int, str]]]:
    """Run it to its end: exit code, and all that it said, on one line."""

    async def ended(*flags: str, kubeconfig: Path | None = None) -> tuple[int, str]:
        return await end_of(await start(*flags, kubeconfig=kubeconfig))

    return ended


async def end_of(process: asyncio.subprocess.Process) -> tuple[int, str]:
    async with asyncio.timeout(LIMIT_SECONDS):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, " ".join((out + err).decode().split())


async def readers(api: Api, namespace: str, wanted: Callable = bool) -> list[Object]:
    return await api.until(PODS, wanted, namespace, selector="app.kubernetes.io/component=reader")


async def no_reader(api: Api, namespace: str) -> None:
    await readers(api, namespace, lambda pods: not pods)


async def allow(api: Api, namespace: str, rights: dict[tuple[str, str], list[str]]) -> None:
    """Give the namespace's own service account these rights."""
    rules = [
        {"apiGroups": [group], "resources": [resource], "verbs": verbs} for (group, resource), verbs in rights.items()
    ]
    await api.create("apis/rbac.authorization.k8s.io/v1/roles", {"metadata": {"name": "r"}, "rules": rules}, namespace)
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}
    binding = {"metadata": {"name": "r"}, "subjects": [subject], "roleRef": role}
    await api.create("apis/rbac.authorization.k8s.io/v1/rolebindings", binding, namespace)


def digests(folder: Path) -> dict[str, str]:
    files = [file for file in folder.iterdir() if not file.name.startswith(".")]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


async def test_results_arrive_with_the_documented_rights_alone_where_pod_security_is_restricted(
    api, control_plane, team, complete, kubelet, run, results, tmp_path
):
    await complete()
    await allow(api, team, DOCUMENTED)
    code, told = await run("--all", kubeconfig=control_plane.service_account_kubeconfig(team, "default"))
    assert code == 0, told
    assert digests(tmp_path / "here/results") == digests(results)
    assert not list((tmp_path / "here/results").glob(".*"))
    assert door.read(tmp_path / "here").best == "a"
    assert {container for _, container, _ in kubelet.ran} == {"reader"}
    await no_reader(api, team)


async def test_without_the_right_to_run_programs_it_is_named_and_no_pod_is_left(
    api, control_plane, team, complete, kubelet, run
):
    await complete()
    await allow(api, team, {right: verbs for right, verbs in DOCUMENTED.items() if right[1] != "pods/exec"})
    code, told = await run(kubeconfig=control_plane.service_account_kubeconfig(team, "default"))
    assert code == 1
    assert "running a program in a pod needs get and create on pods/exec" in told
    await no_reader(api, team)


async def test_the_reader_goes_to_the_node_that_has_the_volume_and_waits_for_it(
    api, team, complete, kubelet, start, results, tmp_path
):
    node = (await api.list(NODES))[-1]["metadata"]["name"]
    size = {"requests": {"storage": "1Gi"}}
    own = {"metadata": {"name": "own"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": size}}
    await api.create(CLAIMS, own, team)
    await api.create(PODS, holder(node), team)
    await api.until(PODS, lambda pods: pods and pods[0]["status"]["phase"] == "Running", team, name="holder")
    job = await complete(results={"storage": {"claimName": "own"}})
    await api.patch(NODES, node, {"spec": {"unschedulable": True}})
    try:
        process = await start("--all")
        assert process.stderr is not None
        async with asyncio.timeout(LIMIT_SECONDS):
            while b"Unschedulable" not in (line := await process.stderr.readline()):
                assert line, "it has ended without a word of why the pod waits"
        kubelet.holds = 1
    finally:
        await api.patch(NODES, node, {"spec": {"unschedulable": None}})
    async with asyncio.timeout(LIMIT_SECONDS):
        await kubelet.held.wait()
    (pod,) = await readers(api, team)
    assert pod["spec"]["nodeName"] == node
    (mount,) = pod["spec"]["containers"][0]["volumeMounts"]
    assert (mount["subPath"], mount["readOnly"]) == (job["metadata"]["uid"], True)
    assert pod["spec"]["volumes"][0]["persistentVolumeClaim"] == {"claimName": "own", "readOnly": True}
    process.send_signal(signal.SIGTERM)
    assert (await end_of(process))[0] == 143
    await no_reader(api, team)


async def test_a_stream_that_breaks_goes_on_where_it_broke(api, team, complete, kubelet, run, results, tmp_path):
    await complete()
    kubelet.cuts = 2
    code, told = await run("--all")
    assert code == 0, told
    assert digests(tmp_path / "here/results") == digests(results)
    offsets = [int(program[-1]) for _, _, program in kubelet.ran if program[-2] == "/results/a.safetensors"]
    assert offsets == [0, 150_000, 225_000]


async def test_an_api_server_that_is_killed_and_comes_back_costs_nothing(
    api, control_plane, team, complete, kubelet, start, results, tmp_path
):
    await complete()
    kubelet.holds = 1
    process = await start("--all")
    async with asyncio.timeout(LIMIT_SECONDS):
        await kubelet.held.wait()
    control_plane.kill_api_server()
    control_plane.start_api_server()
    code, told = await end_of(process)
    assert code == 0, told
    assert digests(tmp_path / "here/results") == digests(results)
    await no_reader(api, team)


async def test_a_quota_that_is_used_up_is_told_in_its_own_words(api, team, complete, run):
    await complete()
    await api.create(RESOURCE_QUOTAS, {"metadata": {"name": "few"}, "spec": {"hard": {"pods": "0"}}}, team)
    code, told = await run()
    assert code == 1
    assert "error: the quota is used up" in told
    assert "few" in told


async def test_a_pod_whose_creation_was_never_confirmed_is_removed(api, team, complete, proxy, run):
    await complete()
    proxy.cut(of("POST", "/pods"), forward=True)
    code, told = await run(kubeconfig=proxy.kubeconfig)
    assert code == 1
    assert "error: the cluster does not answer" in told
    await no_reader(api, team)
    assert [call.path for call in proxy.mutations if call.verb == "DELETE"]


async def test_without_websockets_it_says_what_is_in_the_way_and_removes_the_pod_as_soon_as_that_can_be(
    api, team, complete, proxy, run
):
    await complete()
    proxy.answer(503, of("DELETE"), times=2)
    code, told = await run(kubeconfig=proxy.kubeconfig)
    assert code == 1
    assert "whatever stands before the API server must let WebSockets through" in told
    await no_reader(api, team)


async def test_of_a_job_that_was_deleted_the_claim_that_is_left_is_named(api, team, complete, run):
    job = await complete()
    await api.delete(DISTILLJOBS, "group", team)
    await api.until(DISTILLJOBS, lambda jobs: not jobs, team)
    code, told = await run()
    assert code == 3
    assert f"group-results-{job['metadata']['uid'][:8]} has the results of a job of this name that was deleted" in told


def holder(node: str) -> Object:
    """Make a pod that has the claim's volume on a node."""
    container = {
        "name": "c",
        "image": "none",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "own", "mountPath": "/own"}],
    }
    spec = {
        "nodeName": node,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "own", "persistentVolumeClaim": {"claimName": "own"}}],
    }
    return {"metadata": {"name": "holder"}, "spec": spec}
