"""The rig's real node: what the other tests here take for granted, and that nothing of it is left."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rig.base_images import BUSYBOX_IMAGE, Builder, busybox_archive, python_base
from rig.box import RealCluster
from rig.box_cgroups import hierarchies
from rig.box_namespaces import PACKAGES, require_node_parts
from rig.build import RigError, program

USER = 65532
CLUSTER_FOLDER = Path(__file__).resolve().parents[1] / "cluster"
UNPRIVILEGED = {
    "runAsUser": USER,
    "runAsGroup": USER,
    "runAsNonRoot": True,
    "fsGroup": USER,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
LIMIT = "--timeout=60s"
START = """
import sys, time
from pathlib import Path
from rig.box import RealCluster
with RealCluster() as cluster:
    print(cluster.folder, flush=True)
    time.sleep(600)
"""
"""Somebody who uses a cluster, and will be killed."""
LOOK_UP = """
import json, socket, ssl, sys, urllib.request
service, account = sys.argv[1], "/var/run/secrets/kubernetes.io/serviceaccount/"
request = urllib.request.Request("https://kubernetes.default.svc/api")
request.add_header("Authorization", "Bearer " + open(account + "token").read())
context = ssl.create_default_context(cafile=account + "ca.crt")
versions = json.load(urllib.request.urlopen(request, context=context, timeout=10))["versions"]
print(json.dumps({"addresses": sorted({found[4][0] for found in socket.getaddrinfo(service, 80)}), "api": versions}))
"""


@pytest.fixture(scope="module")
def node() -> Iterator[RealCluster]:
    """Give a cluster with busybox and Python."""
    builder = Builder()
    with RealCluster(images=[busybox_archive(), builder.save(python_base(builder))]) as cluster:
        yield cluster


@pytest.fixture
def namespace(node: RealCluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """Give a namespace of the test's own; nobody waits for its end."""
    name = request.node.name.partition("[")[0].removeprefix("test_").replace("_", "-")[:60].strip("-").lower()
    node.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}])
    node.kubectl("wait", "--for=create", "serviceaccount/default", f"--namespace={name}", LIMIT)
    yield name
    node.kubectl("delete", "namespace", name, "--wait=false")


def pod(namespace: str, name: str, script: str, *, container: dict[str, Any] | None = None, **spec: Any) -> dict:
    """Return a pod of busybox that runs a script."""
    one = {"name": "main", "image": BUSYBOX_IMAGE, "command": ["sh", "-c", script], **(container or {})}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, **spec, "containers": [one]},
    }


def claim(namespace: str, name: str) -> dict:
    """Return a claim of the default storage class."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def until(node: RealCluster, namespace: str, name: str, condition: str) -> None:
    """Wait until a pod has reached a condition or a phase."""
    wanted = f"condition={condition}" if condition == "Ready" else f"jsonpath={{.status.phase}}={condition}"
    node.kubectl("wait", f"--for={wanted}", f"pod/{name}", f"--namespace={namespace}", LIMIT)


def seen(node: RealCluster, namespace: str, name: str) -> dict:
    """Return a pod."""
    return json.loads(node.kubectl("get", "pod", name, f"--namespace={namespace}", "--output=json"))


def container_of(node: RealCluster, namespace: str, name: str) -> dict:
    """Return the status of a pod's container."""
    return seen(node, namespace, name)["status"]["containerStatuses"][0]


def left_of(folder: Path) -> list[str]:
    """Return what this machine still has of a box."""
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if folder.name in line]
    groups = [str(path) for path in hierarchies() if (path / folder.name).exists()]
    running = [path.parent.name for path in Path("/proc").glob("[0-9]*/cmdline") if folder.name in text_of(path)]
    return [*mounts, *groups, *running, *([str(folder)] if folder.exists() else [])]


def text_of(path: Path) -> str:
    """Return a file of a process that may end meanwhile."""
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:
        return ""


def until_true(look: Callable[[], object], what: str) -> None:
    """Wait for what no watch tells."""
    give_up_seconds = time.monotonic() + 30
    while not look():
        assert time.monotonic() < give_up_seconds, what
        time.sleep(0.05)


def test_a_pod_runs_and_its_logs_are_read(node: RealCluster, namespace: str) -> None:
    node.apply([pod(namespace, "a", "echo hello; exit 3")])
    until(node, namespace, "a", "Failed")
    assert node.kubectl("logs", "a", f"--namespace={namespace}") == "hello\n"
    assert container_of(node, namespace, "a")["state"]["terminated"]["exitCode"] == 3


def test_a_program_runs_in_a_pod_with_what_it_is_given(node: RealCluster, namespace: str) -> None:
    node.apply([pod(namespace, "a", "sleep 600")])
    until(node, namespace, "a", "Ready")
    there = ("exec", "a", f"--namespace={namespace}", "--stdin", "--", "md5sum")
    content = "0123456789abcdef" * (1 << 16)
    ended = subprocess.run(["md5sum"], input=content, capture_output=True, text=True, check=True)
    assert node.kubectl(*there, stdin=content) == ended.stdout


def test_a_headless_service_is_found_by_name_and_the_api_server_by_its_own(node: RealCluster, namespace: str) -> None:
    service = {"clusterIP": "None", "selector": {"app": "server"}, "ports": [{"port": 80}]}
    metadata = {"name": "web", "namespace": namespace}
    node.apply(
        [
            {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service},
            pod(namespace, "server", "sleep 600"),
        ]
    )
    until(node, namespace, "server", "Ready")
    python = {"image": "python:3.11-slim", "command": ["python3", "-c", LOOK_UP, f"web.{namespace}.svc"]}
    node.apply([pod(namespace, "client", "", container=python)])
    until(node, namespace, "client", "Succeeded")
    found = json.loads(node.kubectl("logs", "client", f"--namespace={namespace}"))
    assert found == {"addresses": [seen(node, namespace, "server")["status"]["podIP"]], "api": ["v1"]}


def test_a_program_of_this_machine_reaches_a_service_that_has_passed_its_probe(
    node: RealCluster, namespace: str
) -> None:
    script = "mkdir /www; echo from the pod > /www/index.html; exec httpd -f -p 8080 -h /www"
    probe = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}
    service = {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8080}]}
    node.apply(
        [
            pod(namespace, "server", script, container={"readinessProbe": probe}),
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "web", "namespace": namespace},
                "spec": service,
            },
        ]
    )
    until(node, namespace, "server", "Ready")
    read = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=5).read().decode(), end='')"
    command = [sys.executable, "-c", read, f"http://web.{namespace}.svc"]
    until_true(lambda: node.run_in_box(command).stdout == "from the pod\n", "no answer from the service")
    assert node.run_in_box([*command[:-1], "http://no.such.svc"]).returncode == 1


def test_a_program_stays_in_the_box_until_it_is_ended(node: RealCluster, namespace: str) -> None:
    read = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8099', timeout=5).status)"
    server = node.start_in_box("server", [sys.executable, "-m", "http.server", "--bind=127.0.0.1", "8099"])
    until_true(lambda: node.run_in_box([sys.executable, "-c", read]).stdout == "200\n", "no answer in the box")
    outside = subprocess.run([sys.executable, "-c", read], capture_output=True, text=True, check=False)
    assert outside.returncode == 1, "the box's loopback is the machine's"
    server.kill()
    assert node.run_in_box([sys.executable, "-c", read]).returncode == 1


def test_the_box_cannot_reach_this_machine(node: RealCluster) -> None:
    connect = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=2)"
    with socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        port = str(server.getsockname()[1])
        addresses = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=True).stdout.split()
        for address in ("127.0.0.1", *addresses):
            command = [sys.executable, "-c", connect, address, port]
            assert subprocess.run(command, check=False).returncode == 0, f"{address} is not this machine's"
            assert node.run_in_box(command).returncode == 1, f"the box reaches {address}"


def test_a_claim_is_bound_and_written_by_an_unprivileged_user(node: RealCluster, namespace: str) -> None:
    mount = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    one = {"container": mount, "volumes": volumes, "securityContext": UNPRIVILEGED}
    node.apply([claim(namespace, "data"), pod(namespace, "writer", "echo kept > /data/file", **one)])
    until(node, namespace, "writer", "Succeeded")
    node.apply([pod(namespace, "reader", "cat /data/file; id -u", **one)])
    until(node, namespace, "reader", "Succeeded")
    assert node.kubectl("logs", "reader", f"--namespace={namespace}") == f"kept\n{USER}\n"
    path = "--output=jsonpath={.spec.volumeName}"
    volume = node.kubectl("get", "persistentvolumeclaim", "data", f"--namespace={namespace}", path)
    folder = node.folder / "volumes" / volume
    assert (folder / "file").read_text() == "kept\n"
    node.kubectl("delete", "pods", "--all", f"--namespace={namespace}")
    node.kubectl("delete", "persistentvolumeclaim", "data", f"--namespace={namespace}")
    node.kubectl("wait", "--for=delete", f"persistentvolume/{volume}", LIMIT)
    assert not folder.exists()


def test_projected_configuration_is_mounted(node: RealCluster, namespace: str) -> None:
    metadata = {"name": "settings", "namespace": namespace}
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"key": "value"}}
    sources = [{"configMap": {"name": "settings"}}, {"downwardAPI": {"items": [labels_file()]}}]
    volumes = [{"name": "all", "projected": {"sources": sources}}]
    mount = {"volumeMounts": [{"name": "all", "mountPath": "/all", "readOnly": True}]}
    node.apply([settings, pod(namespace, "a", "cat /all/key /all/labels", container=mount, volumes=volumes)])
    until(node, namespace, "a", "Succeeded")
    assert node.kubectl("logs", "a", f"--namespace={namespace}") == 'valueapp="a"'


def labels_file() -> dict:
    """Return an item of a downward API volume."""
    return {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}


def test_too_much_memory_is_reported_as_oom_killed(node: RealCluster, namespace: str) -> None:
    limited = {"resources": {"limits": {"memory": "32Mi"}}}
    node.apply([pod(namespace, "a", "x=a; while true; do x=$x$x; done", container=limited)])
    until(node, namespace, "a", "Failed")
    ended = container_of(node, namespace, "a")["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)


def test_a_container_that_is_killed_from_outside_is_started_again(node: RealCluster, namespace: str) -> None:
    node.apply([pod(namespace, "a", "while :; do sleep 1; done", restartPolicy="Always")])
    until(node, namespace, "a", "Ready")
    before = container_of(node, namespace, "a")
    node.signal_container(namespace, "a", signal.SIGKILL)
    until_true(lambda: container_of(node, namespace, "a")["restartCount"] == 1, "no second start")
    after = container_of(node, namespace, "a")
    assert after["lastState"]["terminated"]["containerID"] == before["containerID"]
    assert after["lastState"]["terminated"]["exitCode"] == 137


def test_a_frozen_container_keeps_its_processes_and_ends_with_its_grace_period(
    node: RealCluster, namespace: str
) -> None:
    node.apply([pod(namespace, "a", "trap 'exit 0' TERM; while :; do sleep 0.1; done", activeDeadlineSeconds=600)])
    until(node, namespace, "a", "Ready")
    node.signal_container(namespace, "a", signal.SIGSTOP)
    [first, *_] = node.container_pids(namespace, "a")
    assert Path(f"/proc/{first}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    change = json.dumps({"spec": {"activeDeadlineSeconds": 1}})
    node.kubectl("patch", "pod", "a", f"--namespace={namespace}", f"--patch={change}")
    until(node, namespace, "a", "Failed")
    assert container_of(node, namespace, "a")["state"]["terminated"]["exitCode"] == 137


def test_a_container_without_processes_cannot_be_signaled(node: RealCluster, namespace: str) -> None:
    node.apply([pod(namespace, "a", "true")])
    until(node, namespace, "a", "Succeeded")
    with pytest.raises(RigError, match=f"container main of pod {namespace}/a has no process"):
        node.signal_container(namespace, "a", signal.SIGKILL)


def test_an_eviction_says_that_it_is_one(node: RealCluster, namespace: str) -> None:
    script = "trap 'sleep 1; exit 143' TERM; while :; do sleep 0.1; done"
    node.apply([{**(one := pod(namespace, "a", script)), "metadata": {**one["metadata"], "finalizers": ["rig/kept"]}}])
    until(node, namespace, "a", "Ready")
    metadata = {"name": "a", "namespace": namespace}
    eviction = json.dumps({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata})
    where = f"/api/v1/namespaces/{namespace}/pods/a/eviction"
    node.kubectl("create", "--raw", where, "--filename=-", stdin=eviction)
    until(node, namespace, "a", "Failed")
    conditions = {each["type"]: each for each in seen(node, namespace, "a")["status"]["conditions"]}
    assert conditions["DisruptionTarget"]["reason"] == "EvictionByEvictionAPI"
    node.kubectl("patch", "pod", "a", f"--namespace={namespace}", '--patch={"metadata":{"finalizers":null}}')


def test_a_port_of_a_pod_is_forwarded(node: RealCluster, namespace: str) -> None:
    script = "mkdir /www; echo forwarded > /www/index.html; exec httpd -f -p 8080 -h /www"
    probe = {"readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1}}
    node.apply([pod(namespace, "a", script, container=probe)])
    until(node, namespace, "a", "Ready")
    command = [str(program("kubectl")), f"--kubeconfig={node.kubeconfig()}", "port-forward", "pod/a", ":8080"]
    with subprocess.Popen([*command, f"--namespace={namespace}"], stdout=subprocess.PIPE, text=True) as forwarding:
        try:
            port = forwarding.stdout.readline().split()[2].rpartition(":")[2]
            with socket.create_connection(("127.0.0.1", int(port)), timeout=10) as connection:
                connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                answer = connection.makefile("rb").read()
        finally:
            forwarding.kill()
    assert answer.endswith(b"\r\n\r\nforwarded\n")


def test_a_node_without_kubelet_is_lost_and_comes_back_with_its_pods(node: RealCluster, namespace: str) -> None:
    node.apply([pod(namespace, "a", "sleep 600")])
    until(node, namespace, "a", "Ready")
    before, pids = container_of(node, namespace, "a"), node.container_pids(namespace, "a")
    node.stop_kubelet()
    node.kubectl("wait", "--for=condition=Ready=Unknown", f"node/{node.node_name}", LIMIT)
    node.start_kubelet()
    node.kubectl("wait", "--for=condition=Ready=True", f"node/{node.node_name}", LIMIT)
    node.kubectl("wait", "--for=condition=Ready=True", "pod/a", f"--namespace={namespace}", LIMIT)
    after = container_of(node, namespace, "a")
    assert (after["containerID"], after["restartCount"]) == (before["containerID"], 0)
    assert node.container_pids(namespace, "a") == pids


def test_two_boxes_side_by_side_leave_nothing(tmp_path: Path) -> None:
    folders = []
    with RealCluster(images=[busybox_archive()]) as one, RealCluster(images=[busybox_archive()]) as other:
        for cluster in (one, other):
            folders.append(cluster.folder)
            cluster.apply([claim("default", "data")])
            mount = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
            volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
            cluster.apply([pod("default", "a", "sleep 600", container=mount, volumes=volumes)])
        for cluster in (one, other):
            until(cluster, "default", "a", "Ready")
            cluster.start_in_box("visitor", ["sleep", "600"])
        assert one.container_pids("default", "a") != other.container_pids("default", "a")
        assert left_of(one.folder), "a box at work leaves traces that this test knows how to find"
    assert [left_of(folder) for folder in folders] == [[], []]


def test_nothing_is_left_when_whoever_used_the_box_is_killed() -> None:
    command = [sys.executable, "-c", START]
    environment = {**os.environ, "PYTHONPATH": str(CLUSTER_FOLDER)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as user:
        try:
            ready, _, _ = select.select([user.stdout], [], [], 120)
            assert ready, "no cluster after 120 s"
            folder = Path(user.stdout.readline().strip())
            assert left_of(folder)
        finally:
            user.kill()
    until_true(lambda: not left_of(folder), f"left: {left_of(folder)}")


def test_missing_programs_are_named_with_the_packages_that_bring_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PACKAGES, "no-such-program", "its-package")
    with pytest.raises(
        RigError, match=r"(?s)needs no-such-program,.*apt-get install --no-install-recommends its-package$"
    ):
        require_node_parts()


def test_whoever_is_not_root_is_told_so() -> None:
    script = f"import os\nfrom rig.box import RealCluster\nos.setuid({USER})\nwith RealCluster(): pass"
    environment = {**os.environ, "PYTHONPATH": str(CLUSTER_FOLDER)}
    command = [sys.executable, "-c", script]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert ended.stderr.splitlines()[-1].startswith("rig.build.RigError: A real node needs root on Linux")
