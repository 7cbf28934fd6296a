"""What the pod that reads results looks like, whatever it takes after."""

import pytest

from distilljob.cluster.reader_manifest import best_model, holder_of, reader_manifest
from distilljob.errors import CommandError
from distilljob_core.spec.load import check_job
from distilljob_operator.manifests.jobs import student_job
from distilljob_operator.manifests.settings import unnamed_images

UID = "01234567-89ab-cdef-0123-456789abcdef"


def job_of(**results):
    return check_job(
        {
            "apiVersion": "distilljob.dev/v1alpha1",
            "kind": "DistillJob",
            "metadata": {"name": "digits", "namespace": "team", "uid": UID},
            "spec": {
                "dataset": {"name": "digits"},
                "students": [
                    {"name": "own", "model": {"name": "m"}, "command": ["./train"]},
                    {"name": "ours", "model": {"name": "mlp_small"}},
                ],
                "results": {"storage": results},
            },
        }
    )


def pod_of(role, *, student="", created="2026-01-01T00:00:00Z", node="", phase="Running", claim="", **spec):
    labels = {"distilljob.dev/role": role, "distilljob.dev/student": student}
    volumes = [{"name": "config"}, {"name": "v", "persistentVolumeClaim": {"claimName": claim}}]
    whole = {"containers": [{"name": role, "image": f"{role}-{student}"}], "nodeName": node, "volumes": volumes, **spec}
    return {"metadata": {"labels": labels, "creationTimestamp": created}, "spec": whole, "status": {"phase": phase}}


def claim_of(*modes):
    return {"metadata": {"name": "c"}, "spec": {"accessModes": list(modes)}}


def test_it_takes_after_the_aggregator_then_after_our_own_trainer_then_after_anything():
    job, own = job_of(), pod_of("student", student="own", created="2026-02-01T00:00:00Z")
    ours, aggregator = pod_of("student", student="ours"), pod_of("aggregator")
    assert best_model(job, [own, aggregator, ours]) is aggregator
    assert best_model(job, [own, ours]) is ours
    assert best_model(job, [own]) is own
    assert best_model(job, []) is None


def test_what_the_operator_makes_of_a_student_is_a_model_without_a_moment_of_creation():
    job = job_of()
    templates = [student_job(job, name, 1, unnamed_images("1"))["spec"]["template"] for name in ("own", "ours")]
    made = reader_manifest(job, best_model(job, templates), None, None)
    assert made["spec"]["containers"][0]["image"] == "registry.example.com/distilljob-trainer:1"


def test_the_containers_of_a_mesh_are_not_taken_for_the_jobs():
    model = pod_of("aggregator")
    model["spec"]["containers"].insert(0, {"name": "proxy", "image": "mesh"})
    made = reader_manifest(job_of(), model, None, None)
    assert made["spec"]["containers"][0]["image"] == "aggregator-"


def test_it_is_on_the_node_of_a_live_pod_that_has_the_volume_and_tolerates_what_that_does():
    taint = {"key": "gpu", "operator": "Exists"}
    gone, other = pod_of("aggregator", node="n0", claim="c", phase="Failed"), pod_of("aggregator", node="n1", claim="d")
    there = pod_of("aggregator", node="n2", claim="c", tolerations=[taint])
    waiting = pod_of("aggregator", claim="c", phase="Pending")
    assert holder_of(claim_of("ReadWriteOnce"), [gone, other, waiting, there]) is there
    assert holder_of(claim_of("ReadWriteOnce"), [gone, other, waiting]) is None
    assert holder_of(claim_of("ReadWriteMany", "ReadWriteOnce"), [there]) is None
    made = reader_manifest(job_of(), there, there, None)
    (term,) = made["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]
    assert term["matchFields"] == [{"key": "metadata.name", "operator": "In", "values": ["n2"]}]
    assert made["spec"]["tolerations"] == [taint]


@pytest.mark.parametrize(
    ("of_model", "expected"),
    [
        (None, {"runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532}),
        ({"runAsUser": 1000, "fsGroup": 7}, {"runAsUser": 1000, "fsGroup": 7}),
        ({"runAsUser": 0, "fsGroup": 0}, {"runAsUser": 65532}),
        ({"seLinuxOptions": {"level": "s0:c1,c2"}}, {"seLinuxOptions": {"level": "s0:c1,c2"}}),
        ({"runAsNonRoot": False, "seccompProfile": {"type": "Unconfined"}}, {}),
    ],
    ids=["nothing left", "another user", "root", "users are given out", "lax"],
)
def test_it_is_the_user_that_the_files_belong_to_and_never_root(of_model, expected):
    model = None if of_model is None else pod_of("aggregator", securityContext=of_model)
    made = reader_manifest(job_of(), model, None, "python:3.11-slim")
    restricted = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert made["spec"]["securityContext"] == restricted | expected


def test_a_claim_of_ones_own_is_mounted_in_the_folder_of_the_job():
    made = reader_manifest(job_of(claimName="shared"), pod_of("aggregator"), None, None)
    assert made["spec"]["volumes"][0]["persistentVolumeClaim"] == {"claimName": "shared", "readOnly": True}
    assert made["spec"]["containers"][0]["volumeMounts"][0]["subPath"] == UID
    own = reader_manifest(job_of(), pod_of("aggregator"), None, None)
    assert own["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] == "digits-results-01234567"
    assert "subPath" not in own["spec"]["containers"][0]["volumeMounts"][0]


def test_it_ends_by_itself_and_goes_with_its_job():
    made = reader_manifest(job_of(), pod_of("aggregator"), None, None)
    assert made["spec"]["activeDeadlineSeconds"] == 3600
    (owner,) = made["metadata"]["ownerReferences"]
    assert (owner["uid"], owner["controller"]) == (UID, False)
    assert "distilljob.dev/uid" not in made["metadata"]["labels"], "the operator would take it for a child"


def test_without_any_pod_and_image_it_asks_for_one():
    with pytest.raises(CommandError, match=r"no image is known.*\n.*--image"):
        reader_manifest(job_of(), None, None, None)
