"""The pod that holds a job's results for as long as they are fetched, and does nothing. Meets `restricted`."""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from distilljob.errors import CommandError
from distilljob_core import names
from distilljob_core.spec.base import Problem
from distilljob_core.spec.job import DistillJob
from distilljob_core.spec.resolve import replica_names
from distilljob_operator.manifests.objects import owner_reference
from distilljob_operator.manifests.pods import USER_ID
from distilljob_operator.manifests.storage import results_claim_name, results_sub_path

CONTAINER: Final = "reader"
RESULTS: Final = "/results"
LIFETIME_SECONDS: Final = 3600
"""A reader whose command was killed ends by itself."""
_AMOUNTS: Final = {"cpu": "100m", "memory": "128Mi"}
_IDENTITY: Final = ("runAsGroup", "fsGroup", "fsGroupChangePolicy", "supplementalGroups", "seLinuxOptions")
_MANY_NODES: Final = frozenset({"ReadWriteMany", "ReadOnlyMany"})
_ENDED: Final = ("Succeeded", "Failed")

Json = Mapping[str, Any]


def reader_manifest(job: DistillJob, model: Json | None, holder: Json | None, image: str | None) -> dict[str, Any]:
    """Make the pod.

    Args:
        job: whose results it holds.
        model: what it takes after: image, pull secrets, tolerations, user; None = nothing of the job is left.
        holder: it must be on the node of this pod, which has the volume; None = on any.
        image: None = that of the model.

    Raises:
        CommandError: neither says an image.
    """
    if model is None and image is None:
        hint = "name one with Python in it: --image registry.example.com/distilljob-aggregator:0.1.0"
        raise CommandError("no image is known to read the results with", [Problem("--image", "no pod is left", hint)])
    own: Json = model["spec"] if model else {}
    container = _own_container(own)
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": LIFETIME_SECONDS,
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": _security(own.get("securityContext") if model else None),
        "containers": [
            _container(image or container["image"], None if image else container.get("imagePullPolicy"), job)
        ],
        "volumes": [
            {"name": "results", "persistentVolumeClaim": {"claimName": results_claim_name(job), "readOnly": True}}
        ],
    }
    if own.get("imagePullSecrets"):
        spec["imagePullSecrets"] = own["imagePullSecrets"]
    tolerations = [*own.get("tolerations", ()), *(holder["spec"].get("tolerations", ()) if holder else ())]
    if tolerations:
        spec["tolerations"] = [each for i, each in enumerate(tolerations) if each not in tolerations[:i]]
    if holder:
        spec["affinity"] = _on_node(holder["spec"]["nodeName"])
    return {"apiVersion": "v1", "kind": "Pod", "metadata": _metadata(job), "spec": spec}


def best_model(job: DistillJob, pods: Iterable[Json]) -> Json | None:
    """Choose what the reader takes after: the aggregator, else a student, rather one that runs our own trainer.

    Args:
        job: whose pods they are.
        pods: its pods, or templates of pods.
    """
    foreign = {name for student in job.spec.students if student.command for name in replica_names(student)}

    def rank(pod: Json) -> tuple[bool, bool, str]:
        metadata = pod["metadata"]
        is_aggregator = metadata["labels"].get(names.LABEL_ROLE) == names.AGGREGATOR
        is_ours = metadata["labels"].get(names.LABEL_STUDENT) not in foreign
        return is_aggregator, is_ours, str(metadata.get("creationTimestamp") or "")

    return max(pods, key=rank, default=None)


def holder_of(claim: Json, pods: Sequence[Json]) -> Json | None:
    """Find a pod that keeps the claim's volume on its node; None where any node may have the volume."""
    if _MANY_NODES & set(claim["spec"].get("accessModes", ())):
        return None
    return next((pod for pod in pods if _holds(pod, claim["metadata"]["name"])), None)


def _holds(pod: Json, claim: str) -> bool:
    spec = pod["spec"]
    mounted = {volume.get("persistentVolumeClaim", {}).get("claimName") for volume in spec.get("volumes", ())}
    return claim in mounted and bool(spec.get("nodeName")) and pod.get("status", {}).get("phase") not in _ENDED


def _own_container(spec: Json) -> Json:
    """Find the container that is the job's; a mesh may have put its own before it."""
    containers: Sequence[Json] = spec.get("containers", ())
    own = (each for each in containers if each["name"] in (names.AGGREGATOR, names.STUDENT))
    return next(own, next(iter(containers), {}))


def _container(image: str, pull_policy: str | None, job: DistillJob) -> dict[str, Any]:
    sub_path = results_sub_path(job)
    mount = {"name": "results", "mountPath": RESULTS, "readOnly": True}
    return {
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": pull_policy or "IfNotPresent",
        "command": ["python3", "-c", f"import time; time.sleep({LIFETIME_SECONDS})"],
        "resources": {"requests": _AMOUNTS, "limits": _AMOUNTS},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [mount if sub_path is None else mount | {"subPath": sub_path}],
    }


def _security(of_model: Json | None) -> dict[str, Any]:
    """Be the user that the files belong to, but never root; where users are given out, wait for one as the job did."""
    made: dict[str, Any] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    if of_model is None:
        return made | {"runAsUser": USER_ID, "runAsGroup": USER_ID, "fsGroup": USER_ID}
    if "runAsUser" in of_model:
        made["runAsUser"] = of_model["runAsUser"] or USER_ID
    return made | {key: of_model[key] for key in _IDENTITY if of_model.get(key)}


def _metadata(job: DistillJob) -> dict[str, Any]:
    labels = {
        "app.kubernetes.io/name": "distilljob",
        "app.kubernetes.io/instance": job.metadata.name,
        "app.kubernetes.io/component": CONTAINER,
        "app.kubernetes.io/part-of": "distilljob",
    }
    return {
        "name": f"{job.metadata.name}-{CONTAINER}-{secrets.token_hex(3)}",
        "labels": labels,
        "ownerReferences": [owner_reference(job) | {"controller": False}],
    }


def _on_node(node: str) -> dict[str, Any]:
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    terms = {"nodeSelectorTerms": [{"matchFields": [field]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
