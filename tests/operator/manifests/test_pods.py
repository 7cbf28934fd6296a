"""Pods: what they hold by default, and what users change about them."""

import pytest

BOTH = pytest.mark.parametrize("who", ["mlp", None], ids=["student", "aggregator"])


def env(container):
    return {item["name"]: item.get("value", item.get("valueFrom")) for item in container["env"]}


def mounts(container):
    return {mount["mountPath"]: mount for mount in container["volumeMounts"]}


def volumes(pod):
    return {volume["name"]: volume for volume in pod["spec"]["volumes"]}


@BOTH
def test_a_pod_meets_the_restricted_standard(pod_of, who):
    spec = pod_of(who)["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in spec["containers"]:
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["readOnlyRootFilesystem"] is True
        assert security["capabilities"] == {"drop": ["ALL"]}
    assert not any("hostPath" in volume for volume in spec["volumes"])


@BOTH
def test_volumes_belong_to_the_user_that_processes_run_as(pod_of, who):
    security = pod_of(who)["spec"]["securityContext"]
    assert security["fsGroup"] == security["runAsGroup"] == security["runAsUser"] > 0
    assert security["fsGroupChangePolicy"] == "OnRootMismatch"


@BOTH
def test_a_pod_has_no_token_and_no_service_links(pod_of, who):
    spec = pod_of(who)["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False


@BOTH
def test_every_folder_that_libraries_write_to_is_a_volume(pod_of, who):
    pod = pod_of(who)
    container = pod["spec"]["containers"][0]
    scratch = mounts(container)["/tmp"]["name"]
    assert volumes(pod)[scratch]["emptyDir"] == {}
    written = ("HOME", "TMPDIR", "XDG_CACHE_HOME", "TORCH_HOME", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")
    assert all((env(container)[name] + "/").startswith("/tmp/") for name in written)


@BOTH
def test_shared_memory_is_a_memory_volume(pod_of, who):
    pod = pod_of(who)
    memory = volumes(pod)[mounts(pod["spec"]["containers"][0])["/dev/shm"]["name"]]
    assert memory["emptyDir"] == {"medium": "Memory", "sizeLimit": "2Gi"}


def test_shared_memory_has_the_size_that_is_asked_for(pod_of):
    pod = pod_of("mlp", {"pod.sharedMemory": "64Mi"})
    assert volumes(pod)["distilljob-memory"]["emptyDir"]["sizeLimit"] == "64Mi"


@BOTH
def test_a_pod_has_two_minutes_to_save(pod_of, who):
    assert pod_of(who)["spec"]["terminationGracePeriodSeconds"] == 120
    assert pod_of(who, {"pod.terminationGracePeriodSeconds": 0})["spec"]["terminationGracePeriodSeconds"] == 0


@BOTH
def test_a_pod_leaves_last_words_also_when_it_could_write_none(container_of, who):
    assert container_of(who)["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert "terminationMessagePath" not in container_of(who)


def test_a_student_is_told_who_it_is(container_of):
    told = env(container_of("mlp"))
    assert told["DISTILLJOB_NAME"] == "demo"
    assert told["DISTILLJOB_UID"] == "12345678-90ab-cdef-1234-567890abcdef"
    assert (told["DISTILLJOB_STUDENT"], told["DISTILLJOB_ATTEMPT"]) == ("mlp", "1")
    assert told["DISTILLJOB_POD_UID"] == {"fieldRef": {"fieldPath": "metadata.uid"}}
    assert told["DISTILLJOB_AGGREGATOR"] == "demo-aggregator:8470"
    assert told["DISTILLJOB_SPEC_FILE"] == "/etc/distilljob/job.json"


def test_a_student_computes_with_the_threads_of_its_cpu_limit_whatever_the_node(container_of):
    assert env(container_of("mlp"))["OMP_NUM_THREADS"] == "1"
    assert env(container_of("cnn"))["OMP_NUM_THREADS"] == "4"
    limited = {"pod.resources": {"limits": {"cpu": "2500m"}}}
    assert env(container_of("mlp", limited))["OMP_NUM_THREADS"] == "2"
    asked = {"pod.resources": {"requests": {"cpu": 3}}}
    assert env(container_of("mlp", asked))["OMP_NUM_THREADS"] == "3"
    little = {"pod.resources": {"limits": {"cpu": "100m"}}}
    assert env(container_of("mlp", little))["OMP_NUM_THREADS"] == "1"


def test_a_users_own_trainer_gets_the_same_surroundings(container_of):
    ours = container_of("cnn")
    theirs = container_of("cnn", {"students.1.command": ["python", "-m", "mine", "--fast"]})
    assert theirs["command"] == ["python", "-m", "mine", "--fast"]
    assert {**theirs, "command": ours["command"], "ports": ours["ports"]} == ours


def test_a_users_own_trainer_promises_no_metrics_that_nobody_could_read(container_of):
    assert container_of("cnn", {"students.1.command": ["mine"]})["ports"] == []
    assert container_of("cnn")["ports"] == [{"name": "http", "containerPort": 8471, "protocol": "TCP"}]


def test_a_student_with_a_gpu_fails_rather_than_train_without_it(container_of):
    assert container_of("cnn")["command"][-1] == "--device=cuda"
    assert container_of("mlp")["command"][0] == "distilljob-trainer"
    assert "--device=cuda" not in container_of("mlp")["command"]


def test_each_role_has_its_own_image_unless_students_are_given_another(container_of):
    changes = {"pod.image": "mine:1", "students.1.pod.image": "mine:2"}
    assert [container_of(who)["image"] for who in ("mlp", "cnn", None)] == ["trainer:1", "trainer:1", "aggregator:1"]
    assert [container_of(who, changes)["image"] for who in ("mlp", "cnn", None)] == ["mine:1", "mine:2", "aggregator:1"]
    assert container_of(None, {"aggregator.pod.image": "mine:3"})["image"] == "mine:3"


@BOTH
def test_images_are_pulled_as_the_job_or_else_the_operator_says(pod_of, who):
    spec = pod_of(who)["spec"]
    assert spec["containers"][0]["imagePullPolicy"] == "IfNotPresent"
    assert "imagePullSecrets" not in spec
    changed = pod_of(who, {"pod": {"imagePullPolicy": "Always", "imagePullSecrets": [{"name": "key"}]}})["spec"]
    assert changed["containers"][0]["imagePullPolicy"] == "Always"
    assert changed["imagePullSecrets"] == [{"name": "key"}]


PASSED_ON = {
    "serviceAccountName": "trainers",
    "nodeSelector": {"gpu": "a100"},
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
    "priorityClassName": "high",
    "schedulerName": "volcano",
    "runtimeClassName": "nvidia",
}


@BOTH
@pytest.mark.parametrize(("field", "wish"), PASSED_ON.items(), ids=PASSED_ON.keys())
def test_what_says_where_and_how_pods_run_is_passed_on(pod_of, who, field, wish):
    assert field not in pod_of(who)["spec"]
    assert pod_of(who, {f"pod.{field}": wish})["spec"][field] == wish


def test_a_students_own_wishes_lie_over_the_jobs(pod_of):
    changes = {
        "pod": {"nodeSelector": {"disk": "ssd", "gpu": "any"}, "priorityClassName": "low"},
        "students.1.pod": {"nodeSelector": {"gpu": "a100"}, "priorityClassName": "high"},
    }
    mlp, cnn = (pod_of(who, changes)["spec"] for who in ("mlp", "cnn"))
    assert (mlp["nodeSelector"], mlp["priorityClassName"]) == ({"disk": "ssd", "gpu": "any"}, "low")
    assert (cnn["nodeSelector"], cnn["priorityClassName"]) == ({"disk": "ssd", "gpu": "a100"}, "high")


def test_replicas_have_the_wishes_of_their_entry(pod_of):
    changes = {"students.0.replicas": 2, "students.0.pod": {"priorityClassName": "high"}}
    assert pod_of("mlp-1", changes)["spec"]["priorityClassName"] == "high"


def test_the_environment_is_the_users_where_he_says_so(container_of):
    changes = {
        "pod.env": [
            {"name": "A", "value": "job"},
            {"name": "B", "value": "job"},
            {"name": "TORCH_HOME", "value": "/x"},
        ],
        "pod.envFrom": [{"secretRef": {"name": "tokens"}}],
        "students.0.pod.env": [{"name": "A", "value": "student"}],
    }
    mlp = container_of("mlp", changes)
    told = env(mlp)
    assert (told["A"], told["B"], told["TORCH_HOME"]) == ("student", "job", "/x")
    assert len(mlp["env"]) == len(told)
    assert mlp["envFrom"] == [{"secretRef": {"name": "tokens"}}]
    assert "A" not in env(container_of(None, changes))
    assert "envFrom" not in container_of(None, changes)


def test_further_volumes_and_mounts_are_the_students(pod_of):
    changes = {
        "pod.volumes": [{"name": "code", "configMap": {"name": "a"}}, {"name": "more", "emptyDir": {}}],
        "pod.volumeMounts": [{"name": "code", "mountPath": "/code"}],
        "students.1.pod.volumes": [{"name": "code", "configMap": {"name": "b"}}],
        "students.1.pod.volumeMounts": [{"name": "code", "mountPath": "/code", "readOnly": True}],
    }
    mlp, cnn, aggregator = (pod_of(who, changes) for who in ("mlp", "cnn", None))
    assert [volumes(pod)["code"]["configMap"]["name"] for pod in (mlp, cnn)] == ["a", "b"]
    assert "more" in volumes(cnn)
    assert mounts(mlp["spec"]["containers"][0])["/code"] == {"name": "code", "mountPath": "/code"}
    assert mounts(cnn["spec"]["containers"][0])["/code"]["readOnly"] is True
    assert "code" not in volumes(aggregator)


@BOTH
def test_labels_and_annotations_are_added_and_ours_stay(pod_of, who):
    wish = {"labels": {"team": "x", "distilljob.dev/job": "another"}, "annotations": {"note": "y"}}
    metadata = pod_of(who, {"pod": wish})["metadata"]
    assert metadata["labels"]["team"] == "x"
    assert metadata["labels"]["distilljob.dev/job"] == "demo"
    assert metadata["annotations"] == {"note": "y"}
    assert "annotations" not in pod_of(who)["metadata"]


@BOTH
def test_the_security_context_can_be_changed_field_by_field(pod_of, who):
    changes = {"pod.securityContext": {"runAsUser": 1000, "fsGroup": None, "supplementalGroups": [7]}}
    security = pod_of(who, changes)["spec"]["securityContext"]
    assert security["runAsUser"] == 1000
    assert security["supplementalGroups"] == [7]
    assert "fsGroup" not in security
    assert security["runAsNonRoot"] is True


def test_a_dataset_volume_is_mounted_for_students_alone(pod_of):
    claim = {"claimName": "cifar", "subPath": "v1", "readOnly": True}
    changes = {"dataset.volume": {"persistentVolumeClaim": claim}}
    student, aggregator = pod_of("mlp", changes), pod_of(None, changes)
    mount = mounts(student["spec"]["containers"][0])["/data"]
    assert (mount["subPath"], mount["readOnly"]) == ("v1", True)
    assert volumes(student)[mount["name"]]["persistentVolumeClaim"] == {"claimName": "cifar", "readOnly": True}
    assert "/data" not in mounts(aggregator["spec"]["containers"][0])
    assert "/data" not in mounts(pod_of("mlp")["spec"]["containers"][0])
    writable = pod_of("mlp", {"dataset.volume": {"persistentVolumeClaim": {"claimName": "cifar"}}})
    assert mounts(writable["spec"]["containers"][0])["/data"] == {"name": "distilljob-data", "mountPath": "/data"}


def test_a_student_mounts_its_own_checkpoints(pod_of):
    for who in ("mlp", "cnn"):
        pod = pod_of(who)
        mount = mounts(pod["spec"]["containers"][0])["/checkpoints"]
        assert volumes(pod)[mount["name"]]["persistentVolumeClaim"] == {"claimName": f"demo-{who}-ckpt-12345678"}
