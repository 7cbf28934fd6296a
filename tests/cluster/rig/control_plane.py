"""A Kubernetes control plane on loopback, without root: etcd, API server, controllers and scheduler."""

import json
import ssl
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rig.cluster import DEFAULT_NODES, Cluster
from rig.keys import Keys
from rig.processes import Port

SERVICE_RANGE = "10.96.0.0/16"
EVERY_REQUEST = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}
"""An audit policy: one line per request, with user, verb and object, without bodies."""


class ControlPlane(Cluster):
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
        super().__init__(nodes=nodes)
        self._audit_policy = audit_policy
        self._api_server = api_server
        self._controller_manager = controller_manager
        self._ports = [Port() for _ in range(3)]
        self._etcd_port, self._peer_port, self.port = (port.number for port in self._ports)
        self.keys = Keys(self.folder / "keys", f"https://127.0.0.1:{self.port}")
        self.audit_log = self.folder / "audit.jsonl"

    def start(self) -> None:
        """Start everything; return once a namespace gets its service account and the nodes are there."""
        self._start_etcd()
        self.start_api_server()
        self._start_controllers()
        super().start()
        self._wait("/api/v1/namespaces/default/serviceaccounts/default")

    def stop(self) -> None:
        """End everything at once and remove the folder."""
        super().stop()
        for port in self._ports:
            port.release()

    def kubeconfig(self, user: str = "admin") -> Path:
        """Return the kubeconfig of `admin`, or of `operator`, an ordinary user without any rights yet."""
        return self.keys.kubeconfig(user)

    def audited(self) -> list[dict[str, Any]]:
        """Return all requests that the audit policy wanted to be logged, so far."""
        return [json.loads(line) for line in self.audit_log.read_text().splitlines()]

    def start_api_server(self) -> None:
        """Start the API server, the first time or after `kill_api_server`; return when it is ready."""
        self.spawn("kube-apiserver", self._api_server_arguments())
        self._wait("/readyz")

    def kill_api_server(self) -> None:
        """Kill the API server: all connections break, and etcd keeps what it has."""
        self._processes.pop("kube-apiserver").kill()

    def _start_etcd(self) -> None:
        client, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{self._peer_port}"
        self.spawn(
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
        self.spawn(
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
        self.spawn("kube-scheduler", [f"--kubeconfig={self.keys.kubeconfig('system:kube-scheduler')}", *common])

    def _wait(self, path: str) -> None:
        """Wait until a GET of this path succeeds."""
        context = ssl.create_default_context(cafile=self.keys.path("ca.crt"))
        https = urllib.request.HTTPSHandler(context=context)
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}), https)
        headers = {"Authorization": f"Bearer {self.keys.tokens['admin']}"}
        request = urllib.request.Request(f"https://127.0.0.1:{self.port}{path}", headers=headers)
        self._wait_for(lambda: direct.open(request, timeout=10).close(), f"answer to GET {path}")
