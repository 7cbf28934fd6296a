"""A whole Kubernetes cluster with one real node, in a box of namespaces on this machine; needs root.

    with RealCluster(images=[archive, ...]) as cluster:
        cluster.kubectl("get", "nodes")

The node is real: kubelet, containerd, runc, a CNI plugin, kube-proxy, CoreDNS. Logs, exec, port-forward, evictions,
out-of-memory kills, probes, projected volumes, claims and DNS are what they are anywhere. Not real: there is one node;
nothing can be pulled (images come from archives); the CNI plugin (ptp) enforces no NetworkPolicies and knows no
hostPort; and nothing outside can be reached from inside. Tried with cgroup v1 only.

Clients on this machine reach the API server, and only that, by `kubeconfig()`, which is right in the box too. What
needs addresses of pods and services, or the cluster's DNS, runs by `run_in_box` or `start_in_box`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from rig.base_images import pause_archive
from rig.box_cgroups import processes
from rig.box_namespaces import PATH, Box, BoxProcess, require_node_parts
from rig.build import RigError, program
from rig.control_plane import ControlPlane
from rig.keys import NODE_ADDRESS, NODE_NAME
from rig.node import (
    CONTAINERD,
    dns_objects,
    write_containerd,
    write_dns,
    write_kubelet,
    write_proxy,
    write_resolver,
)
from rig.processes import Process
from rig.stages import storage_class

CTR = ("ctr", f"--address={CONTAINERD}", "--namespace=k8s.io")
API_SERVER = (
    "--bind-address=0.0.0.0",
    f"--advertise-address={NODE_ADDRESS}",
    "--endpoint-reconciler-type=lease",
    "--kubelet-preferred-address-types=InternalIP",
)
CONTROLLER_MANAGER = (
    "--pvclaimbinder-sync-period=1s",  # the default lets a claim wait for up to 15 s
    "--node-monitor-period=2s",
    "--node-monitor-grace-period=12s",  # a kubelet that is gone is noticed by then, not after 50 s
)


class RealCluster(ControlPlane):
    """A control plane and a real node; all of it ends at once with the `with`, or with the thread that started it."""

    node_name = NODE_NAME

    def __init__(self, *, images: Sequence[Path] = ()) -> None:
        super().__init__(nodes={}, api_server=API_SERVER, controller_manager=CONTROLLER_MANAGER)
        self._images = images
        self._visitors: list[Process] = []
        self._box = Box(self.folder, NODE_ADDRESS, self._ports[2])

    def start(self) -> None:
        """Start everything; return once the node is ready."""
        require_node_parts()
        archives = [pause_archive(), *self._images]
        self._box.start()
        self._start("containerd", ["containerd", f"--config={write_containerd(self.folder)}", "--log-level=warn"])
        self._wait_for(lambda: self._enter(*CTR, "version"), "containerd")
        with ThreadPoolExecutor(1) as beside:
            imports = [beside.submit(self.import_image, archive) for archive in archives]
            self._start_control_plane()
            for each in imports:
                each.result()
        self.start_kubelet()
        self._wait_for(lambda: self._processes["coredns"].has_said("CoreDNS-"), "CoreDNS")
        self._wait("/api/v1/namespaces/default/serviceaccounts/default")

    def stop(self) -> None:
        """End everything at once; no process, mount, link, control group or file is left."""
        self._box.stop()
        for visitor in self._visitors:
            visitor.kill()
        super().stop()

    def spawn(self, name: str, arguments: list[str]) -> None:
        """Start one of the programs, in the box."""
        self._start(name, [str(program(name)), *arguments])

    def import_image(self, archive: Path) -> None:
        """Bring an image onto the node, under the name that it has in the archive (docker-archive or OCI)."""
        self._enter(*CTR, "images", "import", str(archive))

    def start_kubelet(self) -> None:
        """Start the kubelet, the first time or after `stop_kubelet`; return when the node is ready."""
        configuration = self.folder / "kubelet.json"
        if not configuration.exists():
            write_kubelet(self.folder, self.keys)
        self.spawn(
            "kubelet",
            [
                f"--config={configuration}",
                f"--kubeconfig={self.keys.kubeconfig(f'system:node:{NODE_NAME}')}",
                f"--root-dir={self.folder / 'kubelet'}",
                f"--cert-dir={self.folder / 'kubelet-keys'}",
                f"--hostname-override={NODE_NAME}",
                f"--node-ip={NODE_ADDRESS}",
            ],
        )
        ready = ("wait", "--for=condition=Ready", f"node/{NODE_NAME}", "--timeout=5s")
        self._wait_for(lambda: self.kubectl(*ready), "ready node")

    def stop_kubelet(self) -> None:
        """Kill the kubelet: containers run on, and after 12 s the node counts as lost."""
        self._processes.pop("kubelet").kill()

    def container_pids(self, namespace: str, pod: str, container: str | None = None) -> list[int]:
        """Return the processes of a pod's first (or named) running container, as this machine numbers them.

        The first is the container's own first process. Raise RigError where there is none.
        """
        found = json.loads(self.kubectl("get", "pod", pod, f"--namespace={namespace}", "--output=json"))
        statuses = {each["name"]: each for each in found["status"].get("containerStatuses", [])}
        name = container or found["spec"]["containers"][0]["name"]
        identity = statuses.get(name, {}).get("containerID", "").rpartition("/")[2]
        pids = processes(self.folder.name, f"pod{found['metadata']['uid']}/{identity}") if identity else []
        if not pids:
            raise RigError(f"container {name} of pod {namespace}/{pod} has no process: {statuses.get(name)}")
        return pids

    def signal_container(self, namespace: str, pod: str, signal: int, container: str | None = None) -> None:
        """Send a signal to every process of a container, from outside: SIGKILL and SIGSTOP do what they say."""
        for pid in self.container_pids(namespace, pod, container):
            with suppress(ProcessLookupError):  # all others end with the first
                os.kill(pid, signal)

    def run_in_box(
        self, command: Sequence[str], *, environment: Mapping[str, str] | None = None, limit_seconds: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of this machine in the box's network, to its end; its files are this machine's own."""
        return subprocess.run(
            [*self._visit(), *command],
            capture_output=True,
            text=True,
            check=False,
            env={**self._environment(), **(environment or {})},
            timeout=limit_seconds,
        )

    def start_in_box(
        self, name: str, command: Sequence[str], *, environment: Mapping[str, str] | None = None
    ) -> Process:
        """Start a program of this machine in the box's network; its output is in NAME.log of the folder.

        It ends with the cluster; `pid` is its own.
        """
        log = self.folder / f"{name}.log"
        started = Process([*self._visit(), *command], log, {**self._environment(), **(environment or {})})
        self._visitors.append(started)
        return started

    def _start_control_plane(self) -> None:
        self._start_etcd()
        self.start_api_server()
        self._start_controllers()
        self.apply([storage_class(), *dns_objects()])
        self._start_volumes()
        self.spawn("kube-proxy", [f"--config={write_proxy(self.folder, self.keys)}"])
        self.spawn("coredns", [f"-conf={write_dns(self.folder, self.keys)}"])

    def _start(self, name: str, command: list[str]) -> None:
        self._processes[name] = BoxProcess(self._box, command, self.folder / f"{name}.log", self._environment())

    def _start_volumes(self) -> None:
        command = [sys.executable, "-m", "rig.node_volumes", str(self.kubeconfig()), str(self.folder / "volumes")]
        environment = {**self._environment(), "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
        self._processes["volumes"] = Process(command, self.folder / "volumes.log", environment)

    def _enter(self, *command: str) -> None:
        """Run one of the node's own programs to its end."""
        ended = subprocess.run(
            [*self._box.entering(), *command], capture_output=True, text=True, check=False, env=self._environment()
        )
        if ended.returncode != 0:
            raise RigError(f"{' '.join(command)} ended with {ended.returncode}: {ended.stderr.strip()}")

    def _visit(self) -> list[str]:
        return self._box.visiting(write_resolver(self.folder))

    def _environment(self) -> dict[str, str]:
        return {**super()._environment(), "PATH": f"{os.environ.get('PATH', '')}:{PATH}"}
