"""How the parts of the one real node are configured, each as the file or the objects that it reads.

Settings that are not obvious: the node runs on cgroup v1 (which Kubernetes 1.36 and containerd 1.6 still know), without
CAP_SYS_RESOURCE (nobody lowers an oom_score_adj), in a network namespace (conntrack's settings are not its own), and
never evicts pods or removes images because the machine's disk is full.
"""

import json
from pathlib import Path
from typing import Any

from rig.keys import NODE_ADDRESS, NODE_NAME, Keys

CONTAINERD = "/run/containerd/containerd.sock"
"""The usual path, in the box's own /run: the kubelet's cAdvisor knows no other."""
PAUSE_IMAGE = "localhost/pause:1"
POD_RANGE = "10.244.1.0/24"
DNS_ADDRESS = "10.96.0.10"

_CONTAINERD = """\
version = 2
root = "{folder}/containerd"
state = "/run/containerd"
[grpc]
  address = "{socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{folder}/containerd-opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  disable_hugetlb_controller = true
  tolerate_missing_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{folder}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"""
_COREFILE = """\
.:53 {{
    bind {address}
    errors
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {kubeconfig}
        pods insecure
        ttl 1
    }}
}}
"""
_RESOLVER = f"nameserver {DNS_ADDRESS}\nsearch svc.cluster.local cluster.local\noptions ndots:5\n"


def write_containerd(folder: Path) -> Path:
    """Write the configuration of containerd and, where it looks for it, of the pods' network."""
    network = {
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "ptp",
                "ipam": {
                    "type": "host-local",
                    "dataDir": "/run/cni",
                    "ranges": [[{"subnet": POD_RANGE}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            }
        ],
    }
    (folder / "cni").mkdir()
    (folder / "cni/pods.conflist").write_text(json.dumps(network))
    text = _CONTAINERD.format(folder=folder, socket=CONTAINERD, pause=PAUSE_IMAGE)
    return _written(folder / "containerd.toml", text)


def write_kubelet(folder: Path, keys: Keys) -> Path:
    """Write the kubelet's configuration; its pods are in the control group that is named like the folder."""
    configuration = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD}",
        "authentication": {"x509": {"clientCAFile": keys.path("ca.crt")}},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{folder.name}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "makeIPTablesUtilChains": False,
        "oomScoreAdj": 0,
        "maxOpenFiles": 20000,
        "clusterDomain": "cluster.local",
        "clusterDNS": [DNS_ADDRESS],
        "resolvConf": "",
        "podLogsDir": str(folder / "pod-logs"),
        "volumePluginDir": str(folder / "volume-plugins"),
        "evictionHard": {"memory.available": "1Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
        "nodeStatusUpdateFrequency": "5s",
        "nodeLeaseDurationSeconds": 8,
    }
    return _written(folder / "kubelet.json", json.dumps(configuration))


def write_proxy(folder: Path, keys: Keys) -> Path:
    """Write the configuration of kube-proxy, which leads addresses of services to pods."""
    configuration = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "hostnameOverride": NODE_NAME,
        "clientConnection": {"kubeconfig": str(keys.kubeconfig("system:kube-proxy"))},
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }
    return _written(folder / "kube-proxy.json", json.dumps(configuration))


def write_dns(folder: Path, keys: Keys) -> Path:
    """Write CoreDNS's Corefile."""
    text = _COREFILE.format(address=NODE_ADDRESS, kubeconfig=keys.kubeconfig("admin"))
    return _written(folder / "Corefile", text)


def write_resolver(folder: Path) -> Path:
    """Write a resolv.conf for programs of the machine that visit the box."""
    return _written(folder / "resolv.conf", _RESOLVER)


def dns_objects() -> list[dict[str, Any]]:
    """Return what leads the address of the cluster's DNS to CoreDNS, which is no pod here."""
    namespace = "kube-system"
    ports = [{"name": name.lower(), "port": 53, "protocol": name} for name in ("UDP", "TCP")]
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "kube-dns", "namespace": namespace},
            "spec": {"clusterIP": DNS_ADDRESS, "ports": ports},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "kube-dns",
                "namespace": namespace,
                "labels": {"kubernetes.io/service-name": "kube-dns"},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": [NODE_ADDRESS], "conditions": {"ready": True}}],
            "ports": ports,
        },
    ]


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
