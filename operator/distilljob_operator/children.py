"""The kinds of objects that a DistillJob owns, and what the operator keeps of each: a few fields, no client models.

Projections read raw JSON as API server, Job controller, scheduler and kubelet write it. They say what is there; what it
means is said in observe.py.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

from distilljob_core import names
from distilljob_core.termination import Termination, read_termination_message

Raw = Mapping[str, Any]

SELECTOR: Final = names.LABEL_JOB
"""What every child has and nothing else does."""
_NOTHING: Final[Raw] = {}
_STARTING: Final = frozenset({"", "ContainerCreating", "PodInitializing"})
"""Reasons of a container that waits for nothing but its turn."""


@dataclass(frozen=True, slots=True)
class Child:
    """What is kept of every child."""

    namespace: str
    name: str
    uid: str
    owner_uid: str
    """Of its controller: the DistillJob, or for a pod the Job or ReplicaSet; empty where there is none."""
    job: str
    """Name of its DistillJob."""
    job_uid: str
    """UID of its DistillJob, by its label: which incarnation it belongs to."""
    role: str
    student: str
    """Empty for what belongs to the whole job."""
    attempt: int
    """0 for what belongs to no attempt."""
    is_deleting: bool


@dataclass(frozen=True, slots=True)
class OtherChild(Child):
    """A child that needs to be there, and to be what it was made of."""

    digest: str
    """Of its manifest, where it was noted on it."""


@dataclass(frozen=True, slots=True)
class JobChild(Child):
    """The Job of one attempt."""

    is_over: bool
    """It will never make another pod: its only one has been counted as failed or succeeded."""
    is_suspended: bool


@dataclass(frozen=True, slots=True)
class DeploymentChild(Child):
    """The aggregator's Deployment."""

    replicas: int
    failure: str
    """Why it cannot make pods: quota, pod security; empty if it can."""


@dataclass(frozen=True, slots=True)
class ContainerEnd:
    """How a container ended."""

    exit_code: int
    reason: str
    """Kubelet's word: Completed, Error, OOMKilled, StartError."""
    words: Termination
    """Its termination message."""
    finished_seconds: float | None
    """On the node's clock."""


@dataclass(frozen=True, slots=True)
class PodChild(Child):
    """A pod of an attempt, or of the aggregator."""

    created: str
    phase: str
    ip: str
    is_ready: bool
    reason: str
    """Of the pod's status: Evicted, DeadlineExceeded, NodeLost, OutOfcpu."""
    message: str
    waits_for: str
    """Why it does not run: Unschedulable, ImagePullBackOff, CreateContainerConfigError; empty if it does, or soon."""
    waits_message: str
    disruption: str
    """Reason of its DisruptionTarget condition: EvictionByEvictionAPI, PreemptionByScheduler; empty without one."""
    num_restarts: int
    """Of its container; that of an attempt never restarts."""
    end: ContainerEnd | None
    """Of its container, or of the container's last run while it waits for the next one."""
    deletion_asked_seconds: float | None
    """On the API server's clock."""
    grace_seconds: float
    """How long it may take to go after its deletion was asked for."""

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it can do anything any more."""
        return self.phase in ("Succeeded", "Failed")


T = TypeVar("T", bound=Child)


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """One kind of children, and how to watch it."""

    name: str
    """Resource name in paths and RBAC."""
    root: str
    project: Callable[[Raw], T]
    metadata_only: bool = False
    selector: str = SELECTOR

    def path(self, namespace: str = "") -> str:
        """Give the path of one namespace's objects, or of all."""
        return f"{self.root}/namespaces/{namespace}/{self.name}" if namespace else f"{self.root}/{self.name}"


@dataclass(frozen=True, slots=True)
class JobChildren:
    """All children of one incarnation of a DistillJob."""

    jobs: tuple[JobChild, ...] = ()
    pods: tuple[PodChild, ...] = ()
    deployments: tuple[DeploymentChild, ...] = ()
    others: Mapping[str, tuple[OtherChild, ...]] = field(default_factory=dict)
    """By resource name."""

    def others_of(self, kind: "Kind[OtherChild]") -> tuple[OtherChild, ...]:
        """Give those of one kind."""
        return self.others.get(kind.name, ())

    @property
    def aggregator_pod(self) -> PodChild | None:
        """The aggregator's pod: the newest, one that is not leaving before one that is."""
        pods = [pod for pod in self.pods if pod.role == names.AGGREGATOR and not pod.has_ended]
        return max(pods, key=lambda pod: (not pod.is_deleting, pod.created, pod.uid), default=None)

    def student_pods(self) -> Iterator[PodChild]:
        """All pods of attempts."""
        return (pod for pod in self.pods if pod.role == names.STUDENT)


def owned(uid: str, children: Iterable[T]) -> tuple[T, ...]:
    """Pick the children whose controller is the DistillJob of that UID; what an earlier one left is not among them."""
    return tuple(child for child in children if child.owner_uid == uid)


def labeled(uid: str, children: Iterable[T]) -> tuple[T, ...]:
    """Pick those with that UID in their label: pods, whose controller may be gone before them, and kept claims."""
    return tuple(child for child in children if child.job_uid == uid)


def project_other(raw: Raw) -> OtherChild:
    """Keep the metadata of anything."""
    annotations = raw["metadata"].get("annotations") or _NOTHING
    return OtherChild(**_common(raw), digest=annotations.get(names.ANNOTATION_DIGEST, ""))


def project_job(raw: Raw) -> JobChild:
    """Keep what a Job says beyond its pod."""
    status = raw.get("status") or _NOTHING
    uncounted = status.get("uncountedTerminatedPods") or _NOTHING
    ended = any(_conditions(status).get(name) for name in ("Complete", "Failed", "FailureTarget", "SuccessCriteriaMet"))
    counted = status.get("failed") or status.get("succeeded") or uncounted.get("failed") or uncounted.get("succeeded")
    is_suspended = bool((raw.get("spec") or _NOTHING).get("suspend"))
    return JobChild(**_common(raw), is_over=ended or bool(counted), is_suspended=is_suspended)


def project_deployment(raw: Raw) -> DeploymentChild:
    """Keep what a Deployment says beyond its pods."""
    failure = _conditions(raw.get("status") or _NOTHING).get("ReplicaFailure", _NOTHING).get("message", "")
    return DeploymentChild(**_common(raw), replicas=raw["spec"].get("replicas", 1), failure=failure)


def project_pod(raw: Raw) -> PodChild:
    """Keep what says how a pod is."""
    metadata, status = raw["metadata"], raw.get("status") or _NOTHING
    common = _common(raw)
    conditions = _conditions(status)
    container = _container(status, common["role"])
    waits_for, waits_message = _waits_for(status)
    asked_seconds, grace_seconds = _deletion(metadata)
    return PodChild(
        **common,
        created=metadata.get("creationTimestamp") or "",
        phase=status.get("phase") or "Pending",
        ip=status.get("podIP") or "",
        is_ready="Ready" in conditions,
        reason=status.get("reason") or "",
        message=status.get("message") or "",
        waits_for=waits_for,
        waits_message=waits_message,
        disruption=conditions["DisruptionTarget"].get("reason", "") if "DisruptionTarget" in conditions else "",
        num_restarts=container.get("restartCount", 0),
        end=_end(container, common["student"]),
        deletion_asked_seconds=asked_seconds,
        grace_seconds=grace_seconds,
    )


JOBS: Final = Kind("jobs", "/apis/batch/v1", project_job)
PODS: Final = Kind("pods", "/api/v1", project_pod)
DEPLOYMENTS: Final = Kind("deployments", "/apis/apps/v1", project_deployment)
SERVICES: Final = Kind("services", "/api/v1", project_other, metadata_only=True)
CONFIG_MAPS: Final = Kind("configmaps", "/api/v1", project_other, metadata_only=True)
CLAIMS: Final = Kind("persistentvolumeclaims", "/api/v1", project_other, metadata_only=True)
NETWORK_POLICIES: Final = Kind("networkpolicies", "/apis/networking.k8s.io/v1", project_other, metadata_only=True)
OTHERS: Final = (SERVICES, CONFIG_MAPS, CLAIMS, NETWORK_POLICIES)
"""Kinds of which it is enough to know that an object is there."""


def _common(raw: Raw) -> dict[str, Any]:
    metadata = raw["metadata"]
    labels = metadata.get("labels") or _NOTHING
    owners = (owner for owner in metadata.get("ownerReferences") or () if owner.get("controller"))
    attempt = labels.get(names.LABEL_ATTEMPT, "")
    return {
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "owner_uid": next(owners, _NOTHING).get("uid", ""),
        "job": labels.get(names.LABEL_JOB, ""),
        "job_uid": labels.get(names.LABEL_UID, ""),
        "role": labels.get(names.LABEL_ROLE, ""),
        "student": labels.get(names.LABEL_STUDENT, ""),
        "attempt": int(attempt) if attempt.isdecimal() else 0,
        "is_deleting": "deletionTimestamp" in metadata,
    }


def _conditions(status: Raw) -> dict[str, Raw]:
    """Give the conditions that are true, by type."""
    return {item["type"]: item for item in status.get("conditions") or () if item.get("status") == "True"}


def _container(status: Raw, role: str) -> Raw:
    """Find the container that runs our process; others may have been added to the pod by the cluster."""
    containers: list[Raw] = status.get("containerStatuses") or []
    return next((item for item in containers if item["name"] == role), _NOTHING)


def _end(container: Raw, student: str) -> ContainerEnd | None:
    state = container.get("state") or _NOTHING
    last = _NOTHING if "running" in state else container.get("lastState") or _NOTHING
    ended = state.get("terminated") or last.get("terminated")
    if ended is None:
        return None
    words = read_termination_message(ended.get("message") or "", student)
    return ContainerEnd(ended["exitCode"], ended.get("reason") or "", words, _seconds(ended.get("finishedAt")))


def _waits_for(status: Raw) -> tuple[str, str]:
    """Give the scheduler's or kubelet's own reason and message for a pod that does not run."""
    for key in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(key) or ():
            waiting = (container.get("state") or _NOTHING).get("waiting") or _NOTHING
            if waiting.get("reason", "") not in _STARTING:
                return waiting["reason"], waiting.get("message") or ""
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition.get("status") == "False":
            return condition.get("reason") or "", condition.get("message") or ""
    return "", ""


def _deletion(metadata: Raw) -> tuple[float | None, float]:
    """Tell when its deletion was asked for, and how long it may take: the timestamp is the end of the grace period."""
    grace_seconds = float(metadata.get("deletionGracePeriodSeconds") or 0)
    due_seconds = _seconds(metadata.get("deletionTimestamp"))
    return None if due_seconds is None else due_seconds - grace_seconds, grace_seconds


def _seconds(timestamp: str | None) -> float | None:
    return None if not timestamp else datetime.fromisoformat(timestamp).timestamp()
