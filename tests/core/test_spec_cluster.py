"""What keeps a job from running in a cluster, or on one machine."""

import json

import pytest

from distilljob_core import names
from distilljob_core.spec.cluster import CLUSTER_RULES, MAXIMUM_JOB_CHARACTERS, cluster_problems, local_problems
from distilljob_core.spec.load import check_job

BASE = {
    "apiVersion": "distilljob.dev/v1alpha1",
    "kind": "DistillJob",
    "metadata": {"name": "demo"},
    "spec": {
        "dataset": {"name": "digits"},
        "students": [{"name": "a", "model": {"name": "mlp_small"}}, {"name": "b", "model": {"name": "cnn_small"}}],
    },
}
CLAIM = {"persistentVolumeClaim": {"claimName": "x"}}


def with_changes(changes):
    tree = json.loads(json.dumps(BASE))
    for path, value in changes.items():
        *parents, last = [int(step) if step.isdigit() else step for step in path.split(".")]
        node = tree
        for step in parents:
            node = node[step] if isinstance(node, list) else node.setdefault(step, {})
        node[last] = value
    return check_job(tree)


def test_a_plain_job_runs_in_a_cluster():
    assert list(cluster_problems(with_changes({}))) == []


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"metadata.name": "1st"}, "metadata.name"),
        ({"metadata.name": "x" * (MAXIMUM_JOB_CHARACTERS + 1)}, "metadata.name"),
        ({"spec.aggregator.pod": {"gpuResourceName": "amd.com/gpu"}}, "spec.aggregator.pod.gpuResourceName"),
        ({"spec.pod": {"env": [{"name": "DISTILLJOB_UID", "value": "x"}]}}, "spec.pod.env[0].name"),
        ({"spec.pod": {"env": [{"value": "x"}]}}, "spec.pod.env[0]"),
        ({"spec.pod": {"volumes": [{"emptyDir": {}}]}}, "spec.pod.volumes[0]"),
        ({"spec.students.1.pod": {"volumes": [{"name": "distilljob-tls"}]}}, "spec.students[1].pod.volumes[0].name"),
        (
            {"spec.aggregator.pod": {"volumeMounts": [{"name": "x", "mountPath": "/state/"}]}},
            "spec.aggregator.pod.volumeMounts[0].mountPath",
        ),
        (
            {"spec.dataset.volume": CLAIM, "spec.pod": {"volumeMounts": [{"name": "x", "mountPath": "/data"}]}},
            "spec.pod.volumeMounts[0].mountPath",
        ),
    ],
)
def test_what_no_cluster_could_run_is_named(changes, path):
    assert [problem.path for problem in cluster_problems(with_changes(changes))] == [path]


@pytest.mark.parametrize(
    "changes",
    [
        {"metadata.name": "x" * MAXIMUM_JOB_CHARACTERS, "spec.students.0.name": "1"},
        {"spec.pod": {"volumeMounts": [{"name": "x", "mountPath": "/data"}]}},
        {"spec.pod": {"env": [{"name": "NCCL_DEBUG", "value": "INFO"}], "volumes": [{"name": "x", "emptyDir": {}}]}},
        {"spec.students.0.command": ["python", "-m", "mine"]},
    ],
)
def test_what_a_cluster_can_run_is_left_alone(changes):
    assert list(cluster_problems(with_changes(changes))) == []


def test_every_message_says_what_to_change():
    assert all(rule.message and rule.cel and rule.field_path for rule in CLUSTER_RULES)


def test_no_name_made_of_the_longest_job_and_student_is_too_long():
    job, uid = "x" * MAXIMUM_JOB_CHARACTERS, "12345678-90ab"
    made = (
        names.aggregator(job),
        names.tls_secret(job, uid),
        names.spec_config_map(job, uid),
        names.control_config_map(job),
        names.network_policy(job),
        names.state_claim(job, uid),
        names.results_claim(job, uid),
    )
    assert max(len(name) for name in made) == 63


def test_a_job_whose_names_are_just_short_enough_has_room_for_every_attempt():
    job, student, uid = "x" * 40, "y" * 8, "12345678-90ab"
    with_changes({"metadata.name": job, "spec.students.0.name": student})
    assert len(names.checkpoint_claim(job, student, uid)) == 63
    assert len(names.student_attempt(job, student, 10**9)) <= 63


def test_one_machine_runs_what_describes_a_cluster_and_refuses_what_it_cannot_do():
    pods = {"spec.pod": {"image": "x"}, "spec.dataset.volume": CLAIM, "spec.security.tls": "Disabled"}
    assert list(local_problems(with_changes(pods))) == []
    refused = local_problems(with_changes({"spec.students.1.command": ["x"]}))
    assert [problem.path for problem in refused] == ["spec.students[1].command"]
    refused = local_problems(with_changes({"spec.suspend": True}))
    assert [problem.path for problem in refused] == ["spec.suspend"]
