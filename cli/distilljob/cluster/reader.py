"""A pod that holds a job's results for as long as they are fetched, and does nothing."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from distilljob.cluster.access import Cluster
from distilljob.cluster.jobs import Known
from distilljob.errors import CommandError, NotFound
from distilljob_core import names
from distilljob_core.spec.base import Problem
from distilljob_operator import errors
from distilljob_operator.manifests.objects import owner_reference
from distilljob_operator.manifests.pods import USER_ID
from distilljob_operator.manifests.storage import results_claim_name, results_sub_path

LIFETIME_SECONDS: Final = 3600
"""A reader whose command was killed ends by itself."""
START_SECONDS: Final = 300.0
LOOK_SECONDS: Final = 0.5
RESULTS: Final = "/results"
_AMOUNTS: Final = {"cpu": "100m", "memory": "128Mi"}


@asynccontextmanager
async def reader_pod(cluster: Cluster, known: Known, image: str | None) -> AsyncIterator[str]:
    """Start the pod; inside, it runs and its name is known; after that it is removed.

    Args:
        cluster: where the job is.
        known: the job.
        image: with Python; None = that of the job's own pods.

    Raises:
        NotFound: the job has no claim with results.
        CommandError: no image is known, or the pod does not start; with the reason.
    """
    await _check_claim(cluster, results_claim_name(known.job))
    page = await cluster.api.get(cluster.core("pods"), labelSelector=f"{names.LABEL_UID}={known.uid}")
    made = await cluster.api.create(cluster.core("pods"), reader_manifest(known, page["items"], image))
    name = made["metadata"]["name"]
    try:
        await _until_running(cluster, name)
        yield name
    finally:
        await cluster.api.delete(f"{cluster.core('pods')}/{name}", made["metadata"]["uid"], grace_seconds=0)


def reader_manifest(known: Known, pods: Sequence[Mapping[str, Any]], image: str | None) -> dict[str, Any]:
    """Make the pod.

    Args:
        known: the job.
        pods: those of the job that are there: they know an image and its pull secrets, and a running aggregator the
            node that holds the volume.
        image: None = that of the newest pod, the aggregator's if it has one.

    Raises:
        CommandError: neither says an image.
    """
    model = max(pods, key=_is_better_model, default=None)
    if model is None and image is None:
        hint = "name one with Python in it: --image registry.example.com/distilljob-aggregator:0.1.0"
        raise CommandError("no image is known to read the results with", [Problem("--image", "no pod is left", hint)])
    own = model["spec"] if model else {}
    container = _container(known, image or own["containers"][0]["image"])
    if own.get("containers"):
        container["imagePullPolicy"] = own["containers"][0].get("imagePullPolicy", "IfNotPresent")
    claim = {"claimName": results_claim_name(known.job), "readOnly": True}
    user = {"runAsNonRoot": True, "runAsUser": USER_ID, "runAsGroup": USER_ID, "fsGroup": USER_ID}
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": LIFETIME_SECONDS,
        "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {**user, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "results", "persistentVolumeClaim": claim}],
    }
    spec |= {key: own[key] for key in ("imagePullSecrets", "tolerations") if own.get(key)}
    if node := _node_of_results(pods):
        spec["affinity"] = _on_node(node)
    metadata = {
        "name": f"{known.name}-reader-{secrets.token_hex(3)}",
        "labels": {"app.kubernetes.io/name": "distilljob", "app.kubernetes.io/component": "reader"},
        "ownerReferences": [owner_reference(known.job) | {"controller": False}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _container(known: Known, image: str) -> dict[str, Any]:
    sub_path = results_sub_path(known.job)
    mount = {"name": "results", "mountPath": RESULTS, "readOnly": True}
    return {
        "name": "reader",
        "image": image,
        "command": ["sleep", str(LIFETIME_SECONDS)],
        "resources": {"requests": _AMOUNTS, "limits": _AMOUNTS},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [mount if sub_path is None else mount | {"subPath": sub_path}],
    }


def _is_better_model(pod: Mapping[str, Any]) -> tuple[bool, str]:
    metadata = pod["metadata"]
    return metadata["labels"].get(names.LABEL_ROLE) == names.AGGREGATOR, str(metadata.get("creationTimestamp", ""))


def _node_of_results(pods: Sequence[Mapping[str, Any]]) -> str | None:
    """Find the node that a volume of one node at a time is attached to: where an aggregator still runs."""
    for pod in pods:
        is_aggregator = pod["metadata"]["labels"].get(names.LABEL_ROLE) == names.AGGREGATOR
        if is_aggregator and pod.get("status", {}).get("phase") == "Running":
            return str(pod["spec"].get("nodeName", "")) or None
    return None


def _on_node(node: str) -> dict[str, Any]:
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    terms = {"nodeSelectorTerms": [{"matchFields": [field]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


async def _check_claim(cluster: Cluster, claim: str) -> None:
    try:
        await cluster.api.get(f"{cluster.core('persistentvolumeclaims')}/{claim}")
    except errors.NotFound:
        raise NotFound(f"the claim {claim} is gone, and with it the results of the job") from None


async def _until_running(cluster: Cluster, name: str) -> None:
    waits = "nothing is known of it"
    try:
        async with asyncio.timeout(START_SECONDS):
            while True:
                pod = await cluster.api.get(f"{cluster.core('pods')}/{name}")
                if pod["status"].get("phase") == "Running":
                    return
                waits = what_it_waits_for(pod)
                if pod["status"].get("phase") in ("Failed", "Succeeded") or "ErrImageNeverPull" in waits:
                    break
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError:
        pass
    raise CommandError("the pod that reads the results does not start", [Problem(name, waits)])


def what_it_waits_for(pod: Mapping[str, Any]) -> str:
    """Say in Kubernetes' own words what is in the way of a pod."""
    status = pod.get("status", {})
    waiting = [each.get("state", {}).get("waiting") for each in status.get("containerStatuses", ())]
    unmet = [each for each in status.get("conditions", ()) if each.get("status") == "False" and each.get("message")]
    told = [each for each in (*waiting, *unmet, status) if each and each.get("reason")]
    if not told:
        return str(status.get("phase", "Pending"))
    return ": ".join(filter(None, (told[0]["reason"], told[0].get("message", ""))))
