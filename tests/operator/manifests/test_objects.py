"""Jobs, Deployment, Service, claims, ConfigMaps, NetworkPolicy, Secret: one by one, and all together."""

import json
from base64 import b64decode
from dataclasses import replace

import pytest

from distilljob_core import names
from distilljob_core.lifecycle.model import Control
from distilljob_core.spec.load import check_job
from distilljob_core.spec.resolve import resolve_students
from distilljob_operator.manifests.aggregator import aggregator_deployment
from distilljob_operator.manifests.config import control_config_map, spec_config_map
from distilljob_operator.manifests.everything import everything
from distilljob_operator.manifests.jobs import student_job
from distilljob_operator.manifests.network import aggregator_service
from distilljob_operator.manifests.objects import with_digest
from distilljob_operator.manifests.secrets import secret_keys, tls_secret
from distilljob_operator.manifests.settings import unnamed_images
from distilljob_operator.manifests.storage import claims

UID = "12345678-90ab-cdef-1234-567890abcdef"


@pytest.fixture
def all_of(make_job, images):
    """Make every object of a job, first attempts too."""

    def make(changes=None):
        job = make_job(changes)
        attempts = [student_job(job, student.name, 1, images) for student in resolve_students(job.spec)]
        certificates = dict.fromkeys(secret_keys(job), b"")
        return [*everything(job, images, certificates, Control(1, ("mlp",))), *attempts]

    return make


def named(objects):
    return {(made["kind"], made["metadata"]["name"]): made for made in objects}


def test_objects_have_the_names_that_everybody_knows(all_of):
    assert list(named(all_of())) == [
        ("Secret", "demo-tls-12345678"),
        ("ConfigMap", "demo-spec-12345678"),
        ("ConfigMap", "demo-control"),
        ("PersistentVolumeClaim", "demo-state-12345678"),
        ("PersistentVolumeClaim", "demo-results-12345678"),
        ("PersistentVolumeClaim", "demo-mlp-ckpt-12345678"),
        ("PersistentVolumeClaim", "demo-cnn-ckpt-12345678"),
        ("Service", "demo-aggregator"),
        ("NetworkPolicy", "demo-network"),
        ("Deployment", "demo-aggregator"),
        ("Job", "demo-mlp-a1"),
        ("Job", "demo-cnn-a1"),
    ]


def test_every_object_says_whose_it_is(all_of):
    for made in all_of():
        labels = made["metadata"]["labels"]
        assert made["metadata"]["namespace"] == "team"
        assert labels["app.kubernetes.io/name"] == labels["app.kubernetes.io/part-of"] == "distilljob"
        assert labels["app.kubernetes.io/managed-by"] == "distilljob-operator"
        assert labels["app.kubernetes.io/instance"] == labels[names.LABEL_JOB] == "demo"
        assert labels["app.kubernetes.io/component"] == labels[names.LABEL_ROLE]
        assert labels[names.LABEL_UID] == UID
        assert all(isinstance(text, str) for text in labels.values())


def test_every_object_goes_with_its_job_and_the_results_stay(all_of):
    for (kind, name), made in named(all_of()).items():
        owners = made["metadata"].get("ownerReferences", [])
        if name == "demo-results-12345678":
            assert owners == []
            continue
        (owner,) = owners
        assert (owner["kind"], owner["name"], owner["uid"], owner["controller"]) == ("DistillJob", "demo", UID, True), (
            kind
        )
        assert owner["blockOwnerDeletion"] is False


def test_pods_carry_the_labels_that_find_them(all_of):
    objects = named(all_of())
    job, deployment = objects["Job", "demo-cnn-a1"], objects["Deployment", "demo-aggregator"]
    pods = [made["spec"]["template"]["metadata"]["labels"] for made in (job, deployment)]
    assert pods[0][names.LABEL_STUDENT] == "cnn"
    assert pods[0][names.LABEL_ATTEMPT] == "1"
    assert pods[0] == job["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= pods[1].items()
    assert not deployment["spec"]["selector"]["matchLabels"].items() <= pods[0].items()


def test_a_job_makes_one_pod_and_never_another(make_job, images):
    made = student_job(make_job(), "cnn", 3, images)
    assert made["metadata"]["name"] == "demo-cnn-a3"
    spec = made["spec"]
    wanted = {"parallelism": 1, "completions": 1, "backoffLimit": 0, "podReplacementPolicy": "Failed"}
    assert {key: spec[key] for key in wanted} == wanted
    assert spec.keys() == wanted.keys() | {"template"}  # no rule that forgives a failure, no deadline of its own
    assert spec["template"]["spec"]["restartPolicy"] == "Never"


def test_the_aggregator_is_replaced_and_never_doubled(make_job, images):
    spec = aggregator_deployment(make_job(), images)["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert "restartPolicy" not in spec["template"]["spec"]


def test_the_kubelet_asks_over_http_and_waits_for_a_long_recovery(make_job, images):
    (container,) = aggregator_deployment(make_job(), images)["spec"]["template"]["spec"]["containers"]
    paths = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
    assert paths == {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"}
    startup = container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 1800
    assert {port["name"]: port["containerPort"] for port in container["ports"]} == {"grpc": 8470, "http": 8471}


def test_the_aggregator_reads_wishes_from_a_volume_that_follows_changes(make_job, images):
    pod = aggregator_deployment(make_job(), images)["spec"]["template"]["spec"]
    (mount,) = [one for one in pod["containers"][0]["volumeMounts"] if one["mountPath"] == "/etc/distilljob"]
    (volume,) = [one for one in pod["volumes"] if one["name"] == mount["name"]]
    sources = [source["configMap"]["name"] for source in volume["projected"]["sources"]]
    assert sources == ["demo-spec-12345678", "demo-control"]
    assert "subPath" not in mount


def test_the_service_finds_the_aggregator_of_this_very_job_ready_or_not(make_job):
    spec = aggregator_service(make_job())["spec"]
    assert (spec["clusterIP"], spec["publishNotReadyAddresses"]) == ("None", True)
    assert spec["selector"] == {names.LABEL_JOB: "demo", names.LABEL_UID: UID, names.LABEL_ROLE: "aggregator"}
    assert {port["port"] for port in spec["ports"]} == {8470, 8471}


def test_a_job_may_want_no_network_policy(all_of):
    assert "NetworkPolicy" not in {kind for kind, _ in named(all_of({"security.networkPolicy": False}))}


def test_pods_read_the_job_as_it_was_and_nobody_changes_that(make_job):
    job = make_job({"method.cycles": 7, "training.clipNorm": 1, "students.0.training": {"clipNorm": None}})
    made = spec_config_map(job)
    assert made["immutable"] is True
    read = check_job(json.loads(made["data"]["job.json"]))
    assert read.spec == job.spec
    assert resolve_students(read.spec) == resolve_students(job.spec)
    assert read.metadata.model_dump(exclude_unset=True) == {"name": "demo", "uid": UID}


def test_the_control_file_is_the_one_that_the_aggregator_reads(make_job):
    made = control_config_map(make_job(), Control(3, ("mlp",)))
    assert json.loads(made["data"]["control.json"]) == {"stopAfterCycle": 3, "dropped": ["mlp"]}
    assert "immutable" not in made


def test_what_is_wished_at_the_start_is_told_from_the_start(all_of):
    made = named(all_of())["ConfigMap", "demo-control"]
    assert json.loads(made["data"]["control.json"]) == {"stopAfterCycle": 1, "dropped": ["mlp"]}


def test_claims_have_the_sizes_and_classes_that_are_asked_for(make_job):
    changes = {f"{part}.storage.storageClassName": part for part in ("aggregator", "checkpoints", "results")}
    found = {
        made["metadata"]["name"]: (made["spec"]["resources"]["requests"]["storage"], made["spec"]["storageClassName"])
        for made in claims(make_job(changes))
    }
    assert found == {
        "demo-state-12345678": ("1Gi", "aggregator"),
        "demo-results-12345678": ("3Gi", "results"),
        "demo-mlp-ckpt-12345678": ("2Gi", "checkpoints"),
        "demo-cnn-ckpt-12345678": ("2Gi", "checkpoints"),
    }
    plain = claims(make_job({"aggregator": {}, "checkpoints": {}, "results": {}}))
    assert {made["spec"]["resources"]["requests"]["storage"] for made in plain} == {"10Gi"}
    assert all("storageClassName" not in made["spec"] for made in plain)
    assert all(made["spec"]["accessModes"] == ["ReadWriteOnce"] for made in claims(make_job()))


def owned(objects):
    return {made["metadata"]["name"] for made in objects if "ownerReferences" in made["metadata"]}


def test_retention_says_which_claims_outlive_the_job(make_job):
    state, results, checkpoints = "demo-state-12345678", "demo-results-12345678", "demo-mlp-ckpt-12345678"
    assert owned(claims(make_job())) >= {state, checkpoints}
    assert results not in owned(claims(make_job()))
    assert results in owned(claims(make_job({"results.retention": "Delete"})))
    assert checkpoints not in owned(claims(make_job({"checkpoints.retention": "Retain"})))


def test_results_may_go_into_a_folder_of_a_claim_that_exists(make_job, images):
    job = make_job({"results.storage": {"claimName": "shelf"}})
    assert "demo-results-12345678" not in {made["metadata"]["name"] for made in claims(job)}
    pod = aggregator_deployment(job, images)["spec"]["template"]["spec"]
    (mount,) = [one for one in pod["containers"][0]["volumeMounts"] if one["mountPath"] == "/results"]
    (volume,) = [one for one in pod["volumes"] if one["name"] == mount["name"]]
    assert volume["persistentVolumeClaim"]["claimName"] == "shelf"
    assert mount["subPath"] == UID
    own = aggregator_deployment(make_job(), images)["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert not any("subPath" in one for one in own)


def tls_of(pod):
    """Give the mount and the volume of a pod's certificates."""
    mounts = [one for one in pod["containers"][0]["volumeMounts"] if one["mountPath"] == "/var/run/distilljob/tls"]
    volumes = [one for one in pod["volumes"] if "secret" in one]
    return mounts, volumes


@pytest.mark.parametrize(("student", "owner"), [("mlp", "student-mlp"), ("cnn", "student-cnn"), (None, "aggregator")])
@pytest.mark.parametrize(
    ("security", "secret"),
    [({}, "demo-tls-12345678"), ({"tls": "Secret", "tlsSecretName": "ours"}, "ours")],
    ids=["made-by-the-operator", "the-users"],
)
def test_each_pod_sees_its_own_certificate_and_nobody_elses(pod_of, security, secret, student, owner):
    pod = pod_of(student, {"security": security})["spec"]
    (mount,), (volume,) = tls_of(pod)
    assert mount["readOnly"] is True
    assert volume["secret"]["secretName"] == secret
    items = {item["key"]: item["path"] for item in volume["secret"]["items"]}
    assert items == {"ca.crt": "ca.crt", f"{owner}.crt": "tls.crt", f"{owner}.key": "tls.key"}
    assert volume["secret"]["defaultMode"] == 0o440
    environment = {item["name"]: item.get("value") for item in pod["containers"][0]["env"]}
    assert environment["DISTILLJOB_TLS_DIR"] == "/var/run/distilljob/tls"


@pytest.mark.parametrize("student", ["mlp", None])
def test_without_tls_nothing_of_it_is_left(pod_of, all_of, student):
    pod = pod_of(student, {"security.tls": "Disabled"})["spec"]
    assert tls_of(pod) == ([], [])
    assert "DISTILLJOB_TLS_DIR" not in {item["name"] for item in pod["containers"][0]["env"]}
    assert "Secret" not in {kind for kind, _ in named(all_of({"security.tls": "Disabled"}))}


def test_a_users_secret_is_used_and_none_is_made(all_of):
    objects = named(all_of({"security": {"tls": "Secret", "tlsSecretName": "ours"}}))
    assert "Secret" not in {kind for kind, _ in objects}


def test_a_secret_holds_what_it_was_given_under_keys_that_no_two_processes_share(make_job):
    job = make_job({"students.1.name": "ca"})
    keys = secret_keys(job)
    assert len(set(keys)) == len(keys) == 1 + 2 * 3
    made = tls_secret(job, {key: key.encode() for key in keys})
    assert {key: b64decode(content).decode() for key, content in made["data"].items()} == {key: key for key in keys}
    assert made["immutable"] is True


def test_names_of_one_job_never_meet_those_of_another_incarnation(make_job, images):
    job = make_job()
    again = job.model_copy(update={"metadata": job.metadata.model_copy(update={"uid": "99999999-90ab"})})
    volumes = [
        {json.dumps(volume) for volume in student_job(one, "mlp", 1, images)["spec"]["template"]["spec"]["volumes"]}
        for one in (job, again)
    ]
    shared = {json.loads(volume)["name"] for volume in volumes[0] & volumes[1]}
    assert shared == {"distilljob-scratch", "distilljob-memory"}


def test_the_operator_may_bring_secrets_for_its_images(make_job, images):
    given = replace(images, pull_secrets=("registry",), pull_policy="Always")
    pod = student_job(make_job(), "mlp", 1, given)["spec"]["template"]["spec"]
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert pod["containers"][0]["imagePullPolicy"] == "Always"


def test_images_that_are_only_shown_are_in_a_registry_that_nobody_can_have():
    assert unnamed_images("1.2").trainer == "registry.example.com/distilljob-trainer:1.2"
    assert unnamed_images("1.2").aggregator == "registry.example.com/distilljob-aggregator:1.2"


def test_a_job_that_is_in_no_namespace_yet_has_objects_in_none(make_job):
    job = make_job()
    nowhere = job.model_copy(update={"metadata": job.metadata.model_copy(update={"namespace": None})})
    assert "namespace" not in spec_config_map(nowhere)["metadata"]


def test_a_digest_changes_when_the_object_does_and_else_never(make_job, images):
    def digest(changes):
        return with_digest(aggregator_deployment(make_job(changes), images))["metadata"]["annotations"]

    assert digest({}) == digest({})
    assert digest({}) != digest({"aggregator.pod.priorityClassName": "high"})
