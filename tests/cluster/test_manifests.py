"""Manifests on a real API server: accepted word for word under the restricted Pod Security Standard, and really run."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from kubernetes.aio.client import ApiException

from distilljob_core import names
from distilljob_core.lifecycle.model import Control
from distilljob_core.spec.cluster import cluster_problems
from distilljob_core.spec.job import DistillJob
from distilljob_core.spec.load import check_job
from distilljob_core.spec.resolve import resolve_students
from distilljob_operator import certificates
from distilljob_operator.manifests.everything import everything
from distilljob_operator.manifests.jobs import student_job
from distilljob_operator.manifests.settings import unnamed_images
from rig.api import (
    CLAIMS,
    CONFIG_MAPS,
    DEPLOYMENTS,
    DISTILLJOBS,
    JOBS,
    NAMESPACES,
    NETWORK_POLICIES,
    NODES,
    PODS,
    SECRETS,
    SERVICES,
    Api,
    Object,
)
from rig.build import RigError

IMAGES = unnamed_images("0.1.0")
RESOURCES = {
    "Secret": SECRETS,
    "ConfigMap": CONFIG_MAPS,
    "PersistentVolumeClaim": CLAIMS,
    "Service": SERVICES,
    "NetworkPolicy": NETWORK_POLICIES,
    "Deployment": DEPLOYMENTS,
    "Job": JOBS,
}
STUDENTS = [
    {"name": "mlp", "model": {"name": "mlp_small"}, "gpus": 0},
    {"name": "cnn", "model": {"name": "cnn_small"}, "gpus": 1, "replicas": 2},
]
PLAIN = {"dataset": {"name": "digits"}, "students": STUDENTS}
ADORNED = PLAIN | {
    "dataset": {
        "name": "cifar10",
        "volume": {"persistentVolumeClaim": {"claimName": "cifar", "subPath": "v1", "readOnly": True}},
    },
    "aggregator": {
        "storage": {"size": "1500Mi", "storageClassName": "fast"},
        "pod": {"resources": {"limits": {"cpu": 3}}},
    },
    "checkpoints": {"retention": "Retain"},
    "results": {"storage": {"claimName": "shelf"}},
    "security": {"tls": "Secret", "tlsSecretName": "ours"},
    "pod": {
        "image": "registry/mine:1",
        "imagePullPolicy": "Always",
        "imagePullSecrets": [{"name": "key"}],
        "nodeSelector": {"gpu": "a100"},
        "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {
            "podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"a": "b"}}}
                ]
            }
        },
        "topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {}}
        ],
        "schedulerName": "volcano",
        "resources": {"limits": {"memory": "3Gi", "nvidia.com/mig-1g.5gb": 1}},
        "sharedMemory": "512Mi",
        "terminationGracePeriodSeconds": 30,
        "env": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "tokens", "key": "a"}}}],
        "envFrom": [{"configMapRef": {"name": "settings"}}],
        "volumes": [{"name": "code", "configMap": {"name": "code"}}],
        "volumeMounts": [{"name": "code", "mountPath": "/code"}],
        "labels": {"team": "x"},
        "annotations": {"note": "a text"},
        "securityContext": {"runAsUser": 1000, "supplementalGroups": [7]},
    },
    "stopAfterCycle": 2,
}


@pytest.fixture
async def restricted(api: Api, namespace: str) -> str:
    """Give a namespace that refuses, and warns of, what the restricted Pod Security Standard does not allow."""
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    await api.patch(NAMESPACES, namespace, {"metadata": {"labels": labels}})
    return namespace


@pytest.fixture
def submit(api: Api, restricted: str, crd: None) -> Callable[..., Any]:
    """Create a DistillJob, and read it as the operator does: with the API server's defaults and its uid."""

    async def create(spec: Object, name: str = "demo") -> DistillJob:
        body = {
            "apiVersion": "distilljob.dev/v1alpha1",
            "kind": "DistillJob",
            "metadata": {"name": name},
            "spec": spec,
        }
        job = check_job(await api.create(DISTILLJOBS, body, restricted))
        assert list(cluster_problems(job)) == []
        return job

    return create


def objects_of(job: DistillJob) -> list[Object]:
    made = certificates.issue(job.metadata.uid, [student.name for student in resolve_students(job.spec)])
    attempts = [student_job(job, student.name, 1, IMAGES) for student in resolve_students(job.spec)]
    return [*everything(job, IMAGES, made, Control()), *attempts]


def pods_of(objects: list[Object]) -> list[Object]:
    """Give the pods that controllers would make: the standard is enforced on them, not on templates."""
    return [
        {"apiVersion": "v1", "kind": "Pod", **template, "metadata": template["metadata"] | {"name": f"pod-{index}"}}
        for index, made in enumerate(objects)
        if (template := made["spec"].get("template") if "spec" in made else None)
    ]


@pytest.mark.parametrize("spec", [PLAIN, ADORNED], ids=["plain", "adorned"])
async def test_every_object_is_accepted_without_a_warning(
    submit: Callable[..., Any], kubectl: Callable[..., str], restricted: str, spec: Object
) -> None:
    objects = objects_of(await submit(spec))
    everything_made = [*objects, *pods_of(objects)]
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": everything_made})
    flags = ("--dry-run=server", "--validate=strict", "--warnings-as-errors", f"--namespace={restricted}")
    said = kubectl("create", *flags, "--filename=-", stdin=listed)
    assert len(said.splitlines()) == len(everything_made)


async def test_the_namespace_refuses_what_the_standard_does_not_allow(
    submit: Callable[..., Any], kubectl: Callable[..., str], restricted: str
) -> None:
    job = await submit(PLAIN | {"pod": {"securityContext": {"runAsNonRoot": False}}})
    [pod, *_] = pods_of(objects_of(job))
    with pytest.raises(RigError, match="violates PodSecurity"):
        kubectl("create", "--dry-run=server", f"--namespace={restricted}", "--filename=-", stdin=json.dumps(pod))


async def create_all(api: Api, namespace: str, objects: list[Object]) -> None:
    for made in objects:
        await api.create(RESOURCES[made["kind"]], made, namespace)


async def test_a_jobs_pods_run_on_nodes_that_have_what_they_ask_for(
    submit: Callable[..., Any], api: Api, restricted: str
) -> None:
    job = await submit(PLAIN)
    await create_all(api, restricted, objects_of(job))
    selector = f"{names.LABEL_JOB}=demo"
    pods = await api.until(
        PODS,
        lambda pods: len(pods) == 4 and all(pod["status"]["phase"] == "Running" for pod in pods),
        restricted,
        selector=selector,
    )
    for pod in pods:
        limits = pod["spec"]["containers"][0]["resources"]["limits"]
        node = await api.get(NODES, pod["spec"]["nodeName"])
        student = pod["metadata"]["labels"].get(names.LABEL_STUDENT)
        assert limits.get("nvidia.com/gpu") == ("1" if student in ("cnn-0", "cnn-1") else None)
        assert int(node["status"]["allocatable"].get("nvidia.com/gpu", "0")) >= int(limits.get("nvidia.com/gpu", "0"))
    await api.until(DEPLOYMENTS, lambda found: found[0]["status"].get("availableReplicas") == 1, restricted)
    await api.until(CLAIMS, lambda found: all(one["status"]["phase"] == "Bound" for one in found), restricted)


async def test_each_pod_mounts_its_own_certificate_checkpoints_and_nothing_of_others(
    submit: Callable[..., Any], api: Api, restricted: str
) -> None:
    job = await submit(PLAIN)
    await create_all(api, restricted, objects_of(job))
    pods = await api.until(PODS, lambda pods: len(pods) == 4, restricted)
    [secret] = [one for one in await api.list(SECRETS, restricted) if one["type"] == "Opaque"]
    uid8 = job.metadata.uid[:8]
    seen: set[str] = set()
    for pod in pods:
        student = pod["metadata"]["labels"].get(names.LABEL_STUDENT)
        [tls] = [volume["secret"] for volume in pod["spec"]["volumes"] if "secret" in volume]
        own = {item["key"] for item in tls["items"]} - {"ca.crt"}
        assert tls["secretName"] == secret["metadata"]["name"]
        assert own <= secret["data"].keys()
        assert not own & seen
        seen |= own
        claims = {
            volume["persistentVolumeClaim"]["claimName"]
            for volume in pod["spec"]["volumes"]
            if "persistentVolumeClaim" in volume
        }
        state = {f"demo-state-{uid8}", f"demo-results-{uid8}"}
        assert claims == ({f"demo-{student}-ckpt-{uid8}"} if student else state)
    assert seen == secret["data"].keys() - {"ca.crt"}


async def test_a_deleted_job_takes_everything_with_it_but_its_results(
    submit: Callable[..., Any], api: Api, restricted: str
) -> None:
    job = await submit(PLAIN)
    await create_all(api, restricted, objects_of(job))
    await api.until(PODS, lambda pods: len(pods) == 4, restricted)
    await api.delete(DISTILLJOBS, "demo", restricted)
    selector = f"{names.LABEL_UID}={job.metadata.uid}"
    for resource in (*RESOURCES.values(), PODS):
        if resource != CLAIMS:
            await api.until(resource, lambda left: not left, restricted, selector=selector, limit_seconds=120)
    kept = await api.until(CLAIMS, lambda left: len(left) == 1, restricted, selector=selector, limit_seconds=120)
    assert kept[0]["metadata"]["name"] == names.results_claim("demo", job.metadata.uid)


@pytest.mark.parametrize(
    ("spec", "name", "message"),
    [
        (PLAIN, "1st", "begins with a letter"),
        (PLAIN, "a.b", "begins with a letter"),
        (PLAIN | {"students": [STUDENTS[0] | {"name": "s"}]}, "x" * 47, "at most 46 characters"),
        (PLAIN | {"aggregator": {"pod": {"gpuResourceName": "amd.com/gpu"}}}, "demo", "uses no GPU"),
    ],
    ids=["digit", "dot", "long", "gpu"],
)
async def test_the_api_server_refuses_what_no_cluster_could_run(
    submit: Callable[..., Any], spec: Object, name: str, message: str
) -> None:
    with pytest.raises(ApiException, match=message):
        await submit(spec, name)


async def test_the_api_server_takes_the_longest_name_and_its_objects(
    submit: Callable[..., Any], kubectl: Callable[..., str], restricted: str
) -> None:
    job = await submit(PLAIN | {"students": [STUDENTS[0] | {"name": "s"}]}, "x" * 46)
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects_of(job)})
    kubectl(
        "create", "--dry-run=server", "--validate=strict", f"--namespace={restricted}", "--filename=-", stdin=listed
    )


async def test_volumes_have_their_defaults_in_the_stored_resource(submit: Callable[..., Any], api: Api) -> None:
    job = await submit(PLAIN)
    stored = await api.get(DISTILLJOBS, "demo", job.metadata.namespace)
    sizes = {part: stored["spec"][part]["storage"]["size"] for part in ("aggregator", "checkpoints", "results")}
    assert set(sizes.values()) == {"10Gi"}
