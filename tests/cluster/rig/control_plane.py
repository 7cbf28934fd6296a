"""A Kubernetes control plane on loopback, without root: etcd, API server, controllers, scheduler and fake nodes."""

import contextlib
import http.client
import json
import os
import shutil
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rig.build import RigError, program
from rig.fake_nodes import KUBELET_LABEL, fake_nodes
from rig.keys import Keys
from rig.processes import Port, Process
from rig.stages import PROVISIONER, STORAGE_CLASS, stages

LIMIT_SECONDS = 90.0
"""A control plane that takes longer to answer does not come."""
POLL_SECONDS = 0.05
DEFAULT_NODES: Mapping[str, int] = {"large": 3, "small": 1, "plain": 2}
SERVICE_RANGE = "10.96.0.0/16"
EVERY_REQUEST = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}
"""An audit policy: one line per request, with user, verb and object, without bodies."""
_STORAGE_CLASS = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {
        "name": STORAGE_CLASS,
        "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
    },
    "provisioner": PROVISIONER,
    "volumeBindingMode": "Immediate",
}


class ControlPlane:
    """A control plane of its own: `with ControlPlane() as plane: plane.kubectl("get", "nodes")`.

    It ends at once with the `with`, and with the thread that started it, however that ends.
    """

    def __init__(
        self,
        *,
        nodes: Mapping[str, int] = DEFAULT_NODES,
        audit_policy: Mapping[str, Any] | None = None,
        api_server: Sequence[str] = (),
        controller_manager: Sequence[str] = (),
    ) -> None:
        self._nodes = nodes
        self._audit_policy = audit_policy
        self._api_server = api_server
        self._controller_manager = controller_manager
        self._processes: dict[str, Process] = {}
        self._ports: list[Port] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything; return once a namespace gets its service account and the nodes are there."""
        self.folder = Path(tempfile.mkdtemp(prefix="distilljob-rig-"))
        self._ports = [Port() for _ in range(3)]
        self._etcd_port, self._peer_port, self.port = (port.number for port in self._ports)
        self.keys = Keys(self.folder / "keys", f"https://127.0.0.1:{self.port}")
        self.audit_log = self.folder / "audit.jsonl"
        try:
            self._start_etcd()
            self.start_api_server()
            self._start_controllers()
            self._start_kwok()
            self._wait("/api/v1/namespaces/default/serviceaccounts/default")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End everything at once and remove the folder."""
        for process in reversed(self._processes.values()):  # etcd last: the API server hangs without it
            process.kill()
        self._processes.clear()
        for port in self._ports:
            port.release()
        shutil.rmtree(self.folder, ignore_errors=True)

    def kubeconfig(self, user: str = "admin") -> Path:
        """Return the kubeconfig of `admin`, or of `operator`, an ordinary user without any rights yet."""
        return self.keys.kubeconfig(user)

    def service_account_kubeconfig(self, namespace: str, name: str) -> Path:
        """Return a kubeconfig with a token that the API server issued for a service account."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": 7200},
        }
        token = self.request("POST", path, request)["status"]["token"]
        return self.keys.kubeconfig_with(f"{namespace}.{name}", token)

    def kubectl(self, *arguments: str, stdin: str | None = None, user: str = "admin") -> str:
        """Run kubectl; return what it prints, raise with what it complains about."""
        ended = subprocess.run(
            [str(program("kubectl")), "--kubeconfig", str(self.kubeconfig(user)), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            env=_environment(self.folder),
        )
        if ended.returncode != 0:
            raise RigError(f"kubectl {' '.join(arguments)} ended with {ended.returncode}: {ended.stderr.strip()}")
        return ended.stdout

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Make one request as admin; raise on anything but success."""
        with self._connection() as connection:
            return self._exchange(connection, method, path, body)

    def audited(self) -> list[dict[str, Any]]:
        """Return all requests that the audit policy wanted to be logged, so far."""
        return [json.loads(line) for line in self.audit_log.read_text().splitlines()]

    def start_api_server(self) -> None:
        """Start the API server, the first time or after `kill_api_server`; return when it is ready."""
        self._spawn("kube-apiserver", self._api_server_arguments())
        self._wait("/readyz")

    def kill_api_server(self) -> None:
        """Kill the API server: all connections break, and etcd keeps what it has."""
        self._processes.pop("kube-apiserver").kill()

    def _start_etcd(self) -> None:
        client, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{self._peer_port}"
        self._spawn(
            "etcd",
            [
                "--name=rig",
                f"--data-dir={self.folder / 'etcd'}",
                f"--listen-client-urls={client}",
                f"--advertise-client-urls={client}",
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=rig={peer}",
                "--socket-reuse-port=true",
                "--unsafe-no-fsync",
                "--log-level=warn",
            ],
        )

    def _api_server_arguments(self) -> list[str]:
        path = self.keys.path
        arguments = [
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self.port}",
            "--permit-port-sharing",
            f"--tls-cert-file={path('apiserver.crt')}",
            f"--tls-private-key-file={path('apiserver.key')}",
            f"--client-ca-file={path('ca.crt')}",
            f"--token-auth-file={path('tokens.csv')}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={path('sa.pub')}",
            f"--service-account-signing-key-file={path('sa.key')}",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            f"--kubelet-client-certificate={path('kubelet-client.crt')}",
            f"--kubelet-client-key={path('kubelet-client.key')}",
            f"--requestheader-client-ca-file={path('ca.crt')}",
            "--requestheader-allowed-names=rig-front-proxy",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={path('front-proxy.crt')}",
            f"--proxy-client-key-file={path('front-proxy.key')}",
            "--endpoint-reconciler-type=none",  # an endpoint may not be a loopback address
            "--profiling=false",
        ]
        if self._audit_policy is not None:
            policy = self.folder / "audit-policy.json"
            policy.write_text(json.dumps(self._audit_policy))
            arguments += [f"--audit-policy-file={policy}", f"--audit-log-path={self.audit_log}"]
        return [*arguments, *self._api_server]

    def _start_controllers(self) -> None:
        path = self.keys.path
        common = ["--secure-port=0", "--leader-elect=false", "--kube-api-qps=500", "--kube-api-burst=1000"]
        self._spawn(
            "kube-controller-manager",
            [
                f"--kubeconfig={self.keys.kubeconfig('system:kube-controller-manager')}",
                *common,
                "--use-service-account-credentials=true",
                f"--service-account-private-key-file={path('sa.key')}",
                f"--root-ca-file={path('ca.crt')}",
                f"--cluster-signing-cert-file={path('ca.crt')}",
                f"--cluster-signing-key-file={path('ca.key')}",
                f"--service-cluster-ip-range={SERVICE_RANGE}",
                "--concurrent-job-syncs=20",
                *self._controller_manager,
            ],
        )
        self._spawn("kube-scheduler", [f"--kubeconfig={self.keys.kubeconfig('system:kube-scheduler')}", *common])

    def _start_kwok(self) -> None:
        node_stages, own = self.folder / "node-stages.yaml", self.folder / "stages.yaml"
        printed = subprocess.run([str(program("kwok-node-stages"))], capture_output=True, check=True)
        node_stages.write_bytes(printed.stdout)
        own.write_text(stages())
        self._spawn(
            "kwok",
            [
                f"--kubeconfig={self.keys.kubeconfig('kwok')}",
                f"--config={node_stages}",
                f"--config={own}",
                "--manage-all-nodes=false",
                f"--manage-nodes-with-label-selector={KUBELET_LABEL}",
                "--cidr=10.200.0.0/16",
                "--node-ip=127.0.0.1",
                "--node-lease-duration-seconds=40",
            ],
        )
        with self._connection() as connection:
            self._exchange(connection, "POST", "/apis/storage.k8s.io/v1/storageclasses", _STORAGE_CLASS)
            for node in fake_nodes(self._nodes):
                self._exchange(connection, "POST", "/api/v1/nodes", node)

    def _spawn(self, name: str, arguments: list[str]) -> None:
        command = [str(program(name)), *arguments]
        self._processes[name] = Process(command, self.folder / f"{name}.log", _environment(self.folder))

    def _wait(self, path: str) -> None:
        """Wait until a GET of this path succeeds."""
        give_up_seconds = time.monotonic() + LIMIT_SECONDS
        while True:
            for process in self._processes.values():
                process.check()
            try:
                self.request("GET", path)
                return
            except (OSError, RigError, http.client.HTTPException) as error:
                if time.monotonic() > give_up_seconds:
                    logs = "\n".join(f"{name}:\n{process.tail(5)}" for name, process in self._processes.items())
                    raise RigError(f"{path} does not answer after {LIMIT_SECONDS:.0f} s: {error}\n{logs}") from error
            time.sleep(POLL_SECONDS)

    @contextlib.contextmanager
    def _connection(self) -> Iterator[http.client.HTTPSConnection]:
        context = ssl.create_default_context(cafile=self.keys.path("ca.crt"))
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=30)
        with contextlib.closing(connection):
            yield connection

    def _exchange(
        self, connection: http.client.HTTPSConnection, method: str, path: str, body: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.keys.tokens['admin']}", "Content-Type": "application/json"}
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        response = connection.getresponse()
        content = response.read()
        if response.status >= 300:
            raise RigError(f"{method} {path}: {response.status} {content.decode(errors='replace')}")
        is_json = response.getheader("Content-Type", "").startswith("application/json")
        return dict(json.loads(content)) if is_json else {}


def _environment(home: Path) -> dict[str, str]:
    """Return an environment without proxies, and with a home of its own for kubectl's caches."""
    return {"PATH": os.environ.get("PATH", ""), "HOME": str(home)}
