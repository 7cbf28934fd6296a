"""Pods as the `restricted` Pod Security Standard wants them, with what the first week of training needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from distilljob_core import names
from distilljob_core.plan import Process
from distilljob_core.spec.base import dump
from distilljob_core.spec.cluster import OWN_VOLUMES
from distilljob_core.spec.job import DistillJob
from distilljob_core.spec.pod import Pod
from distilljob_operator.manifests.objects import Manifest
from distilljob_operator.manifests.secrets import tls_volume
from distilljob_operator.manifests.settings import Images

USER_ID: Final = 65532
"""User and group of all processes; images need no entry for it."""
GRACE_SECONDS: Final = 120
SHARED_MEMORY: Final = "2Gi"

_ENVIRONMENT: Final = {
    "PYTHONUNBUFFERED": "1",
    "HOME": names.MOUNT_SCRATCH,
    "USER": "distilljob",  # torch asks for the user's name, and images know none for the number
    "TMPDIR": names.MOUNT_SCRATCH,
    "XDG_CACHE_HOME": f"{names.MOUNT_SCRATCH}/.cache",
    "TORCH_HOME": f"{names.MOUNT_SCRATCH}/.cache/torch",
    "TORCHINDUCTOR_CACHE_DIR": f"{names.MOUNT_SCRATCH}/.cache/inductor",
    "TRITON_CACHE_DIR": f"{names.MOUNT_SCRATCH}/.cache/triton",
}
_PASSED_ON: Final = (
    "serviceAccountName",
    "nodeSelector",
    "tolerations",
    "affinity",
    "topologySpreadConstraints",
    "priorityClassName",
    "schedulerName",
    "runtimeClassName",
)


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume and where it appears."""

    volume: Manifest
    path: str
    sub_path: str | None = None
    read_only: bool = False

    def manifest(self) -> Manifest:
        """Write the container's side of it."""
        made: Manifest = {"name": self.volume["name"], "mountPath": self.path}
        if self.sub_path is not None:
            made["subPath"] = self.sub_path
        return made | ({"readOnly": True} if self.read_only else {})


@dataclass(frozen=True, slots=True)
class Container:
    """One container of a pod: a process of the plan, and what only a pod has."""

    process: Process
    image: str
    resources: Manifest
    ports: Mapping[str, int]
    mounts: Sequence[Mount]
    env: Mapping[str, str] = field(default_factory=dict)
    probes: Mapping[str, Any] = field(default_factory=dict)


def pod_template(job: DistillJob, container: Container, patch: Pod, images: Images, labels: dict[str, str]) -> Manifest:
    """Make a pod's template.

    Args:
        job: whose pod it is.
        container: its only one.
        patch: what the user wants otherwise.
        images: the operator's own settings.
        labels: distilljob's own, which no patch changes.
    """
    mounts = [*container.mounts, *_common_mounts(job, container.process, patch)]
    metadata: Manifest = {"labels": (patch.labels or {}) | labels}
    if patch.annotations:
        metadata["annotations"] = patch.annotations
    wishes = dump(patch)
    spec: Manifest = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _or(patch.termination_grace_period_seconds, GRACE_SECONDS),
        "securityContext": _pod_security(patch),
        "containers": [_container(container, mounts, patch, images)],
        "volumes": [*(mount.volume for mount in mounts), *(patch.volumes or [])],
    }
    pull_secrets = _or(patch.image_pull_secrets, [{"name": name} for name in images.pull_secrets])
    if pull_secrets:
        spec["imagePullSecrets"] = pull_secrets
    return {"metadata": metadata, "spec": spec | {key: wishes[key] for key in _PASSED_ON if wishes.get(key)}}


def claim_volume(name: str, claim: str, *, read_only: bool = False) -> Manifest:
    """Give the volume of a claim."""
    return {
        "name": f"{OWN_VOLUMES}{name}",
        "persistentVolumeClaim": {"claimName": claim} | ({"readOnly": True} if read_only else {}),
    }


def _container(container: Container, mounts: Sequence[Mount], patch: Pod, images: Images) -> Manifest:
    made: Manifest = {
        "name": container.process.role,
        "image": patch.image or container.image,
        "imagePullPolicy": patch.image_pull_policy or images.pull_policy,
        "command": list(container.process.argv),
        "env": _environment(container, mounts, patch),
        "resources": container.resources,
        "ports": [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in container.ports.items()],
        "volumeMounts": [*(mount.manifest() for mount in mounts), *(patch.volume_mounts or [])],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        **container.probes,
    }
    return made | ({"envFrom": patch.env_from} if patch.env_from else {})


def _environment(container: Container, mounts: Sequence[Mount], patch: Pod) -> list[Manifest]:
    """Put the environment together; the user's own wins."""
    own = {**_ENVIRONMENT, **container.env, **container.process.env}
    if any(mount.path == names.MOUNT_TLS for mount in mounts):
        own[names.ENV_TLS_DIR] = names.MOUNT_TLS
    items: dict[str, Manifest] = {name: {"name": name, "value": text} for name, text in own.items()}
    if names.ENV_POD_UID in items:
        items[names.ENV_POD_UID] = {
            "name": names.ENV_POD_UID,
            "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}},
        }
    return list((items | {item["name"]: item for item in patch.env or []}).values())


def _common_mounts(job: DistillJob, process: Process, patch: Pod) -> list[Mount]:
    size = patch.shared_memory or SHARED_MEMORY
    memory = {"name": f"{OWN_VOLUMES}memory", "emptyDir": {"medium": "Memory", "sizeLimit": size}}
    mounts = [
        Mount({"name": f"{OWN_VOLUMES}scratch", "emptyDir": {}}, names.MOUNT_SCRATCH),
        Mount(memory, names.MOUNT_SHARED_MEMORY),
    ]
    if (tls := tls_volume(job, process.student)) is not None:
        mounts.append(Mount(tls, names.MOUNT_TLS, read_only=True))
    return mounts


def _pod_security(patch: Pod) -> Manifest:
    defaults: Manifest = {
        "runAsNonRoot": True,
        "runAsUser": USER_ID,
        "runAsGroup": USER_ID,
        "fsGroup": USER_ID,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    both = defaults | (patch.security_context or {})
    return {key: wish for key, wish in both.items() if wish is not None}


def _or(wish: Any, default: Any) -> Any:
    return default if wish is None else wish
