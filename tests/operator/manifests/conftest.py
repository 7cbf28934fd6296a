"""Jobs as the API server gives them, and their objects."""

import json
from collections.abc import Callable

import pytest

from distilljob_core.spec.job import DistillJob
from distilljob_core.spec.load import check_job
from distilljob_operator.manifests.aggregator import aggregator_deployment
from distilljob_operator.manifests.jobs import student_job
from distilljob_operator.manifests.settings import Images

UID = "12345678-90ab-cdef-1234-567890abcdef"
BASE = {
    "apiVersion": "distilljob.dev/v1alpha1",
    "kind": "DistillJob",
    "metadata": {"name": "demo", "namespace": "team", "uid": UID, "resourceVersion": "7"},
    "spec": {
        "dataset": {"name": "digits"},
        "students": [
            {"name": "mlp", "model": {"name": "mlp_small"}, "gpus": 0},
            {"name": "cnn", "model": {"name": "cnn_small"}},
        ],
        "aggregator": {"storage": {"size": "1Gi"}},
        "checkpoints": {"storage": {"size": "2Gi"}},
        "results": {"storage": {"size": "3Gi"}},
    },
}
IMAGES = Images("trainer:1", "aggregator:1")


@pytest.fixture
def images() -> Images:
    """The operator's own settings."""
    return IMAGES


@pytest.fixture
def make_job() -> Callable[[dict], DistillJob]:
    """Make a job: the base, and values set by dotted path below spec; list items by number."""

    def make(changes: dict | None = None) -> DistillJob:
        tree = json.loads(json.dumps(BASE))
        for path, value in (changes or {}).items():
            *parents, last = [int(step) if step.isdigit() else step for step in path.split(".")]
            node = tree["spec"]
            for step in parents:
                node = node[step] if isinstance(node, list) else node.setdefault(step, {})
            node[last] = value
        return check_job(tree)

    return make


@pytest.fixture
def pod_of(make_job) -> Callable[..., dict]:
    """Give the pod template of one process: a student, or the aggregator (None)."""

    def make(student: str | None, changes: dict | None = None) -> dict:
        job = make_job(changes)
        made = aggregator_deployment(job, IMAGES) if student is None else student_job(job, student, 1, IMAGES)
        return made["spec"]["template"]

    return make


@pytest.fixture
def container_of(pod_of) -> Callable[..., dict]:
    """Give the one container of a pod."""

    def make(student: str | None, changes: dict | None = None) -> dict:
        (container,) = pod_of(student, changes)["spec"]["containers"]
        return container

    return make
