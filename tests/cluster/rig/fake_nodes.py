"""Nodes that exist only as objects; kwok acts as their kubelets."""

from collections.abc import Iterator, Mapping
from typing import Any

KUBELET_LABEL = "rig/kubelet"
"""Nodes with this label have a (fake) kubelet; without it a node goes Unknown and its pods are beyond reach."""

SIZES: Mapping[str, Mapping[str, str]] = {
    "large": {"nvidia.com/gpu": "8", "cpu": "96", "memory": "1Ti"},
    "small": {"nvidia.com/gpu": "1", "cpu": "8", "memory": "64Gi"},
    "plain": {"cpu": "16", "memory": "64Gi"},
}
PODS_PER_NODE = 110


def fake_nodes(counts: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    """Yield this many nodes of each size, as `large-0`."""
    for size, count in counts.items():
        for number in range(count):
            yield _node(f"{size}-{number}", size)


def _node(name: str, size: str) -> dict[str, Any]:
    resources = {**SIZES[size], "ephemeral-storage": "1Ti", "pods": str(PODS_PER_NODE)}
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "rig/size": size, KUBELET_LABEL: "running"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "status": {"allocatable": resources, "capacity": resources},
    }
