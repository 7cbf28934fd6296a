"""The rig itself: a real control plane, whose fake nodes do what a kubelet would do."""

import os
import select
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from kubernetes.aio.client import ApiException

from rig.api import CLAIMS, CONFIG_MAPS, JOBS, NODES, PODS, VOLUMES, Api, Object, path
from rig.control_plane import EVERY_REQUEST, ControlPlane

FOLDER = Path(__file__).parent


def job(name: str, *, gpus: int = 0, annotations: dict[str, str] | None = None, **pod: object) -> Object:
    resources = {"limits": {"nvidia.com/gpu": gpus}} if gpus else {}
    spec = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "none", "resources": resources}], **pod}
    template = {"metadata": {"annotations": annotations or {}}, "spec": spec}
    return {
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "podReplacementPolicy": "Failed", "template": template},
    }


def in_phase(phase: str):
    return lambda pods: pods and all(pod["status"]["phase"] == phase for pod in pods)


def terminated(pod: Object) -> Object:
    return pod["status"]["containerStatuses"][0]["state"]["terminated"]


def condition(item: Object, kind: str) -> Object:
    return next((known for known in item["status"].get("conditions", []) if known["type"] == kind), {})


async def running(api: Api, namespace: str, manifest: Object) -> Object:
    await api.create(JOBS, manifest, namespace)
    [pod] = await api.until(PODS, in_phase("Running"), namespace)
    return pod


async def test_a_jobs_pod_runs_on_a_fake_node_with_gpus(api: Api, namespace: str) -> None:
    pod = await running(api, namespace, job("a", gpus=8))
    node = await api.get(NODES, pod["spec"]["nodeName"])
    assert node["status"]["allocatable"]["nvidia.com/gpu"] == "8"
    assert condition(pod, "Ready")["status"] == "True"


async def test_a_pod_that_asks_for_more_than_there_is_stays_pending(api: Api, namespace: str) -> None:
    await api.create(JOBS, job("a", gpus=9), namespace)
    [pod] = await api.until(PODS, lambda pods: pods and condition(pods[0], "PodScheduled"), namespace)
    assert condition(pod, "PodScheduled")["reason"] == "Unschedulable"


@pytest.mark.parametrize(("code", "phase", "ending"), [("0", "Succeeded", "Complete"), ("3", "Failed", "Failed")])
async def test_a_pod_ends_with_the_code_of_its_annotation(
    api: Api, namespace: str, code: str, phase: str, ending: str
) -> None:
    pod = await running(api, namespace, job("a"))
    await api.annotate(PODS, pod["metadata"]["name"], namespace, exit_code=code, termination_message='{"a": 1}')
    [pod] = await api.until(PODS, in_phase(phase), namespace)
    assert terminated(pod)["exitCode"] == int(code)
    assert terminated(pod)["message"] == '{"a": 1}'
    await api.until(JOBS, lambda jobs: condition(jobs[0], ending).get("status") == "True", namespace)


async def test_a_pod_template_may_carry_the_end_already(api: Api, namespace: str) -> None:
    annotations = {"rig/exit-code": "137", "rig/container-reason": "OOMKilled"}
    await api.create(JOBS, job("a", annotations=annotations), namespace)
    [pod] = await api.until(PODS, in_phase("Failed"), namespace)
    assert (terminated(pod)["exitCode"], terminated(pod)["reason"]) == (137, "OOMKilled")


@pytest.mark.parametrize(("frozen", "code"), [(False, 143), (True, 137)])
async def test_a_lowered_active_deadline_ends_a_pod_and_keeps_it(
    api: Api, namespace: str, frozen: bool, code: int
) -> None:
    annotations = {"rig/frozen": "yes"} if frozen else {}
    manifest = job("a", annotations=annotations, activeDeadlineSeconds=86400, terminationGracePeriodSeconds=1)
    pod = await running(api, namespace, manifest)
    await api.patch(PODS, pod["metadata"]["name"], {"spec": {"activeDeadlineSeconds": 1}}, namespace)
    [ended] = await api.until(PODS, in_phase("Failed"), namespace)
    assert ended["status"]["reason"] == "DeadlineExceeded"
    assert terminated(ended)["exitCode"] == code
    assert ended["metadata"]["uid"] == pod["metadata"]["uid"]
    assert "deletionTimestamp" not in ended["metadata"]


async def test_a_disrupted_pod_says_so(api: Api, namespace: str) -> None:
    pod = await running(api, namespace, job("a"))
    await api.annotate(PODS, pod["metadata"]["name"], namespace, exit_code="143", disruption="TerminationByKubelet")
    [pod] = await api.until(PODS, in_phase("Failed"), namespace)
    assert condition(pod, "DisruptionTarget")["reason"] == "TerminationByKubelet"


async def test_an_evicted_pod_need_not_be_a_disruption_target(api: Api, namespace: str) -> None:
    pod = await running(api, namespace, job("a"))
    await api.annotate(
        PODS, pod["metadata"]["name"], namespace, exit_code="137", pod_reason="Evicted", pod_message="low on disk"
    )
    [pod] = await api.until(PODS, in_phase("Failed"), namespace)
    assert (pod["status"]["reason"], pod["status"]["message"]) == ("Evicted", "low on disk")
    assert condition(pod, "DisruptionTarget") == {}


async def test_the_eviction_api_marks_the_pod_and_ends_it_with_sigterm(api: Api, namespace: str) -> None:
    manifest = job("a")
    manifest["spec"]["template"]["metadata"]["finalizers"] = ["rig.distilljob.dev/look"]
    pod = await running(api, namespace, manifest)
    name = pod["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}}
    await api.request("POST", path(PODS, namespace, name, "eviction"), eviction)
    [pod] = await api.until(PODS, in_phase("Failed"), namespace)
    assert condition(pod, "DisruptionTarget")["reason"] == "EvictionByEvictionAPI"
    assert terminated(pod)["exitCode"] == 143
    await api.patch(PODS, name, {"metadata": {"finalizers": None}}, namespace)


async def test_an_image_that_cannot_be_pulled_is_waited_for(api: Api, namespace: str) -> None:
    await api.create(JOBS, job("a", annotations={"rig/waiting": "ImagePullBackOff"}), namespace)
    [pod] = await api.until(PODS, lambda pods: pods and pods[0]["status"].get("containerStatuses"), namespace)
    assert pod["status"]["phase"] == "Pending"
    assert pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "ImagePullBackOff"
    await api.annotate(PODS, pod["metadata"]["name"], namespace, waiting=None)
    await api.until(PODS, in_phase("Running"), namespace)


async def test_a_pod_on_an_unreachable_node_stays_terminating_until_forced(api: Api, namespace: str) -> None:
    pod = await running(api, namespace, job("a", annotations={"rig/unreachable": "yes"}))
    name = pod["metadata"]["name"]
    await api.delete(JOBS, "a", namespace, options={"propagationPolicy": "Background"})
    [pod] = await api.until(PODS, lambda pods: "deletionTimestamp" in pods[0]["metadata"], namespace)
    assert pod["status"]["phase"] == "Running"
    await api.delete(PODS, name, namespace, options={"gracePeriodSeconds": 0})
    await api.until(PODS, lambda pods: not pods, namespace)


async def test_a_claim_binds_and_its_volume_goes_with_it(api: Api, namespace: str) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    await api.create(CLAIMS, {"metadata": {"name": "c"}, "spec": spec}, namespace)
    [claim] = await api.until(CLAIMS, in_phase("Bound"), namespace)
    await api.delete(CLAIMS, "c", namespace)
    await api.until(VOLUMES, lambda volumes: not volumes, name=claim["spec"]["volumeName"])


async def test_children_go_with_their_owner(api: Api, namespace: str) -> None:
    owner = await api.create(CONFIG_MAPS, {"metadata": {"name": "owner"}}, namespace)
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    await api.create(CONFIG_MAPS, {"metadata": {"name": "child", "ownerReferences": [reference]}}, namespace)
    await api.delete(CONFIG_MAPS, "owner", namespace)
    await api.until(CONFIG_MAPS, lambda maps: not maps, namespace, name="child")


@pytest.mark.usefixtures("crd")
def test_the_custom_resource_is_explained(kubectl) -> None:
    assert "KIND:       DistillJob" in kubectl("explain", "distilljob.spec.students")


async def test_an_ordinary_user_may_do_nothing_until_told(control_plane: ControlPlane, namespace: str) -> None:
    async with Api(control_plane.kubeconfig("operator")) as stranger:
        with pytest.raises(ApiException) as refused:
            await stranger.list(PODS, namespace)
    assert refused.value.status == 403
    account = control_plane.service_account_kubeconfig(namespace, "default")
    async with Api(account) as stranger:
        with pytest.raises(ApiException, match=f"system:serviceaccount:{namespace}:default"):
            await stranger.list(PODS, namespace)


def test_requests_are_audited_and_the_state_outlives_the_api_server() -> None:
    with ControlPlane(audit_policy=EVERY_REQUEST, nodes={"plain": 1}) as plane:
        plane.kubectl("create", "configmap", "kept")
        made = [line for line in plane.audited() if line["verb"] == "create" and line["objectRef"]["name"] == "kept"]
        assert [line["user"]["username"] for line in made] == ["admin"]
        plane.kill_api_server()
        plane.start_api_server()
        assert "kept" in plane.kubectl("get", "configmaps")


def test_nothing_outlives_a_killed_parent() -> None:
    environment = {**os.environ, "PYTHONPATH": str(FOLDER)}
    command = [sys.executable, "-m", "rig", "--nodes", "1"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        told = parent.stdout.readline()
        assert "ready" in told
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
        assert len(children) == 5
        parent.kill()
    watched = [os.pidfd_open(int(child)) for child in children if Path(f"/proc/{child}").exists()]
    for child in watched:
        assert select.select([child], [], [], 30)[0], "a child outlives its parent"
        os.close(child)
    shutil.rmtree(told.split("logs in ")[1].strip())
