"""A cluster with a real node, and one namespace of it where a team runs its jobs.

Students of the staged failures run the slim image: the trainer with the very same entry point, whose torch comes from
the virtual environment of these tests. Pod Security `restricted` forbids hostPath in pods, so a read-only claim on a
volume of the node brings it.
"""

import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rig.box import RealCluster
from rig.build import program

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "deploy/helm/distilljob"
DISTILLJOB = Path(sys.executable).with_name("distilljob")
PACKAGES = "packages"
POLL_SECONDS = 0.5

Object = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Site:
    """The cluster, and the programs that a user has beside it."""

    cluster: RealCluster

    def helm(self, *arguments: str) -> str:
        """Run Helm; return what it prints, raise with what it complains about."""
        return self._run([str(program("helm")), *arguments]).stdout

    def distilljob(self, *arguments: str, is_good: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the command line as its users do."""
        return self._run([str(DISTILLJOB), *arguments], is_good=is_good)

    def watch(self, job: str, namespace: str) -> None:
        """Show a job until it has ended, on this terminal."""
        command = [str(DISTILLJOB), "status", job, f"--namespace={namespace}", "--watch"]
        subprocess.run(command, check=True, env=self._environment)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl as the administrator."""
        return self.cluster.kubectl(*arguments, stdin=stdin)

    def add_namespace(self, name: str) -> None:
        """Make a namespace that enforces the restricted Pod Security Standard, with the packages for slim students."""
        enforced = {"pod-security.kubernetes.io/enforce": "restricted"}
        metadata = {"name": name, "labels": enforced}
        self.cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}])
        self.add_packages(name)

    def add_packages(self, namespace: str) -> None:
        """Bring what slim students need to a namespace."""
        name = f"{PACKAGES}-{namespace}"
        self.cluster.apply([_volume(name), _claim(namespace, name)])

    @property
    def _environment(self) -> dict[str, str]:
        return {**os.environ, "KUBECONFIG": str(self.cluster.kubeconfig()), "COLUMNS": "120"}

    def _run(self, command: list[str], *, is_good: bool = True) -> subprocess.CompletedProcess[str]:
        ended = subprocess.run(command, capture_output=True, text=True, check=False, env=self._environment)
        assert not is_good or ended.returncode == 0, f"{' '.join(command)}\n{ended.stdout}\n{ended.stderr}"
        return ended


def until(look: Callable[[], T], what: str, limit_seconds: float = 120.0) -> T:
    """Look until something is there; return it."""
    give_up_seconds = time.monotonic() + limit_seconds
    while not (found := look()):
        assert time.monotonic() < give_up_seconds, f"no {what} after {limit_seconds:.0f} s; the last look: {found!r}"
        time.sleep(POLL_SECONDS)
    return found


def packages_for_students() -> Object:
    """Give what a slim student needs beyond its image, as fields of its pod."""
    return {
        "volumes": [{"name": PACKAGES, "persistentVolumeClaim": {"claimName": PACKAGES, "readOnly": True}}],
        "volumeMounts": [{"name": PACKAGES, "mountPath": "/opt/site", "readOnly": True}],
    }


def _volume(name: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "10Gi"},
            "accessModes": ["ReadOnlyMany"],
            "storageClassName": "",
            "hostPath": {"path": sysconfig.get_path("purelib")},
        },
    }


def _claim(namespace: str, volume: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": PACKAGES, "namespace": namespace},
        "spec": {
            "accessModes": ["ReadOnlyMany"],
            "storageClassName": "",
            "volumeName": volume,
            "resources": {"requests": {"storage": "10Gi"}},
        },
    }
