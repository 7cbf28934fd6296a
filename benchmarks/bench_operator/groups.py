"""The DistillJobs that are measured, and how their children are told apart."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench_operator.client import Object
from bench_operator.world import Attempt, Member, Reading
from distilljob_core import names
from distilljob_core.lifecycle.model import Control
from distilljob_core.spec.job import API_VERSION, KIND
from distilljob_core.spec.load import check_job
from distilljob_operator.certificates import issue
from distilljob_operator.manifests.everything import everything
from distilljob_operator.manifests.jobs import student_job
from distilljob_operator.manifests.settings import Images

STUDENTS = ("a", "b", "c", "d")
PODS_PER_JOB = len(STUDENTS) + 1
IMAGES = Images("bench/trainer", "bench/aggregator")
DISTILLJOBS = f"/apis/{API_VERSION}/namespaces/{{}}/distilljobs"
COLLECTIONS = {
    "ConfigMap": "api/v1",
    "Secret": "api/v1",
    "PersistentVolumeClaim": "api/v1",
    "Service": "api/v1",
    "NetworkPolicy": "apis/networking.k8s.io/v1",
    "Deployment": "apis/apps/v1",
    "Job": "apis/batch/v1",
}
PLURALS = {kind: "networkpolicies" if kind == "NetworkPolicy" else f"{kind.lower()}s" for kind in COLLECTIONS}
_STORAGE = {"storage": {"size": "1Gi"}}


def distilljob(name: str, namespace: str, *, hang_seconds: int = 600) -> Object:
    """Make one as users write it, with TLS and NetworkPolicy; restarts wait for nothing and have no end."""
    policy: dict[str, Any] = {
        "maxRestarts": 1000,
        "maxRestartsPerStudent": 100,
        "backoff": {"initialSeconds": 0, "baseSeconds": 0},
        "hang": {"steadySeconds": hang_seconds, "startupSeconds": 3600},
    }
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "dataset": {"name": "digits"},
            "method": {"cycles": 8},
            "students": [{"name": student, "model": {"name": "mlp_small"}, "gpus": 0} for student in STUDENTS],
            "aggregator": _STORAGE,
            "checkpoints": _STORAGE,
            "results": _STORAGE,
            "failurePolicy": policy,
        },
    }


def bodies(names: Sequence[str], namespaces: Sequence[str], *, hang_seconds: int = 600) -> list[tuple[str, bytes]]:
    """Write down DistillJobs, spread over the namespaces: path of the collection, and what to post there."""
    made = []
    for number, name in enumerate(names):
        namespace = namespaces[number % len(namespaces)]
        body = distilljob(name, namespace, hang_seconds=hang_seconds)
        made.append((DISTILLJOBS.format(namespace), json.dumps(body).encode()))
    return made


def children(created: Object) -> Iterator[Object]:
    """Make everything that the operator makes for a job, in its order."""
    job = check_job({key: value for key, value in created.items() if key != "status"})
    yield from everything(job, IMAGES, issue(job.metadata.uid, STUDENTS), Control())
    for student in STUDENTS:
        yield student_job(job, student, 1, IMAGES)


def collection(child: Object) -> str:
    """Give the path of the collection that a child belongs to."""
    kind, namespace = child["kind"], child["metadata"]["namespace"]
    return f"/{COLLECTIONS[kind]}/namespaces/{namespace}/{PLURALS[kind]}"


def _attempt(namespace: str, labels: Mapping[str, str]) -> Attempt | None:
    if names.LABEL_STUDENT not in labels or names.LABEL_ATTEMPT not in labels:
        return None
    member = Member(namespace, labels[names.LABEL_JOB], labels[names.LABEL_STUDENT])
    return Attempt(member, int(labels[names.LABEL_ATTEMPT]))


READING = Reading(
    label=names.LABEL_JOB,
    attempt=_attempt,
    others=[f"/{root}/{PLURALS[kind]}" for kind, root in COLLECTIONS.items() if kind != "Job"],
)
