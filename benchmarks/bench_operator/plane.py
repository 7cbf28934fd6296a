"""The control plane that all contestants get: the tests' own, large enough, and one whose claims need no volumes."""

import json
import math
from pathlib import Path
from typing import Any

from rig.control_plane import ControlPlane

PODS_PER_GROUP = 5
STUDENTS_PER_NODE = 80
"""Of large nodes, with room for pods that have ended."""
SINGLES = 10
"""Groups beside those that are counted: the ones made alone, and those of the trials."""
ADMIN_REQUESTS = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "users": ["admin"]}, {"level": "None"}],
}
"""Who speaks as the administrator: the contestant, this benchmark, kwok."""
VOLUME_PLUGINS = ("VolumeBinding", "VolumeRestrictions", "NodeVolumeLimits", "VolumeZone")


class Plane(ControlPlane):
    """Claims stay unbound and the scheduler does not mind: binding 6,000 of them would measure the volume controller.

    Args:
        groups: how many jobs of five pods are to find room.
    """

    def __init__(self, groups: int) -> None:
        large = math.ceil((groups + SINGLES) * PODS_PER_GROUP / STUDENTS_PER_NODE) + 1
        super().__init__(
            nodes={"large": large},
            audit_policy=ADMIN_REQUESTS,
            controller_manager=["--controllers=*,-persistentvolume-binder-controller"],
        )

    def spawn(self, name: str, arguments: list[str]) -> None:
        """Start one of the programs; the scheduler without its plugins for volumes."""
        if name == "kube-scheduler":
            arguments = ["--secure-port=0", f"--config={self._scheduler_configuration()}"]
        super().spawn(name, arguments)

    def _scheduler_configuration(self) -> Path:
        disabled = [{"name": plugin} for plugin in VOLUME_PLUGINS]
        profile = {"schedulerName": "default-scheduler", "plugins": {"multiPoint": {"disabled": disabled}}}
        kubeconfig = str(self.keys.kubeconfig("system:kube-scheduler"))
        configuration: dict[str, Any] = {
            "apiVersion": "kubescheduler.config.k8s.io/v1",
            "kind": "KubeSchedulerConfiguration",
            "clientConnection": {"kubeconfig": kubeconfig, "qps": 500, "burst": 1000},
            "leaderElection": {"leaderElect": False},
            "profiles": [profile],
        }
        path = self.folder / "scheduler.json"
        path.write_text(json.dumps(configuration))
        return path
