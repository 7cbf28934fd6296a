"""Every field of a patch changes the pods that it is said of, and no others."""

from dataclasses import replace

import pytest

from distilljob_operator.manifests.aggregator import aggregator_deployment
from distilljob_operator.manifests.jobs import student_job
from distilljob_operator.manifests.settings import PodDefaults

WISHES = {
    "image": "mine:1",
    "imagePullPolicy": "Always",
    "imagePullSecrets": [{"name": "key"}],
    "serviceAccountName": "trainers",
    "nodeSelector": {"gpu": "a100"},
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
    "priorityClassName": "high",
    "schedulerName": "volcano",
    "runtimeClassName": "nvidia",
    "resources.requests": {"memory": "1Mi"},
    "resources.limits": {"cpu": "7"},
    "gpuResourceName": "amd.com/gpu",
    "sharedMemory": "1Mi",
    "terminationGracePeriodSeconds": 7,
    "env": [{"name": "A", "value": "b"}],
    "envFrom": [{"secretRef": {"name": "tokens"}}],
    "volumes": [{"name": "more", "emptyDir": {}}],
    "volumeMounts": [{"name": "more", "mountPath": "/more"}],
    "labels": {"team": "x"},
    "annotations": {"note": "y"},
    "securityContext": {"runAsUser": 1000},
}
OF_STUDENTS_ALONE = {
    "image",
    "resources.requests",
    "resources.limits",
    "gpuResourceName",
    "sharedMemory",
    "env",
    "envFrom",
    "volumes",
    "volumeMounts",
}
"""What spec.pod says of students and not of the aggregator."""
LEVELS = ("pod", "students.1.pod", "aggregator.pod")
LEVEL_OF = {"students": "pod", "aggregator": "aggregator.pod"}


def affected(level, field):
    if field == "gpuResourceName":  # the student mlp has no GPU; the aggregator never has, and a rule refuses it there
        return set() if level == "aggregator.pod" else {"cnn"}
    if level == "pod":
        return {"mlp", "cnn"} if field in OF_STUDENTS_ALONE else {"mlp", "cnn", None}
    return {"cnn"} if level == "students.1.pod" else {None}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("field", WISHES)
def test_a_field_changes_the_pods_that_it_is_said_of_and_no_others(pod_of, level, field):
    changes = {f"{level}.{field}": WISHES[field]}
    changed = {who for who in ("mlp", "cnn", None) if pod_of(who, changes) != pod_of(who)}
    assert changed == affected(level, field)


@pytest.mark.parametrize("field", WISHES)
@pytest.mark.parametrize("role", ["students", "aggregator"])
def test_defaults_of_a_release_change_the_pods_of_their_role_and_no_others(make_job, images, role, field):
    name, _, inner = field.partition(".")
    pods = PodDefaults.model_validate({role: {name: {inner: WISHES[field]} if inner else WISHES[field]}})
    given = replace(images, pods=pods)
    changed = {who for who in ("mlp", "cnn", None) if _pod(make_job(), who, given) != _pod(make_job(), who, images)}
    of_role = {"mlp", "cnn"} if role == "students" else {None}
    assert changed == (affected(LEVEL_OF[role], field) if field == "gpuResourceName" else of_role)


def _pod(job, who, images):
    return student_job(job, who, 1, images) if who else aggregator_deployment(job, images)


def test_a_job_is_laid_over_the_defaults_of_a_release_field_by_field(make_job, images):
    defaults = {
        "env": [{"name": "A", "value": "release"}, {"name": "B", "value": "release"}],
        "resources": {"limits": {"cpu": "3", "memory": "9Gi"}},
    }
    given = replace(images, pods=PodDefaults.model_validate({"students": defaults}))
    wishes = {"pod.env": [{"name": "A", "value": "job"}], "pod.resources.limits": {"memory": "5Gi"}}
    (container,) = student_job(make_job(wishes), "mlp", 1, given)["spec"]["template"]["spec"]["containers"]
    env = {each["name"]: each.get("value") for each in container["env"]}
    assert (env["A"], env["B"]) == ("job", "release")
    limits = container["resources"]["limits"]
    assert (limits["cpu"], limits["memory"]) == ("3", "5Gi")
