"""Every name that two parts of distilljob must agree on."""

from typing import Final

PROTOCOL_VERSION: Final = 1

GRPC_PORT: Final = 8470
HTTP_PORT: Final = 8471

ENV_SPEC_FILE: Final = "DISTILLJOB_SPEC_FILE"
ENV_NAME: Final = "DISTILLJOB_NAME"
ENV_UID: Final = "DISTILLJOB_UID"
ENV_STUDENT: Final = "DISTILLJOB_STUDENT"
ENV_ATTEMPT: Final = "DISTILLJOB_ATTEMPT"
ENV_POD_UID: Final = "DISTILLJOB_POD_UID"
ENV_AGGREGATOR: Final = "DISTILLJOB_AGGREGATOR"
ENV_TLS_DIR: Final = "DISTILLJOB_TLS_DIR"

MOUNT_CONFIG: Final = "/etc/distilljob"
MOUNT_DATA: Final = "/data"
MOUNT_CHECKPOINTS: Final = "/checkpoints"
MOUNT_STATE: Final = "/state"
MOUNT_RESULTS: Final = "/results"
MOUNT_TLS: Final = "/var/run/distilljob/tls"
MOUNT_SCRATCH: Final = "/tmp"  # noqa: S108 - a volume of the pod's own
MOUNT_SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108

SPEC_FILE_NAME: Final = "job.json"
"""The snapshot of the DistillJob that every process reads."""
CONTROL_FILE_NAME: Final = "control.json"
"""The wishes that may change while the job runs: stopAfterCycle and dropped students."""

AGGREGATOR: Final = "aggregator"
"""Role of that process, and the name that its certificate is verified by, whatever the cluster's domain is."""
STUDENT: Final = "student"
"""Role of the others."""

LABEL_JOB: Final = "distilljob.dev/job"
LABEL_UID: Final = "distilljob.dev/uid"
"""Which incarnation of the job: what an earlier job of the same name left is never taken for its own."""
LABEL_ROLE: Final = "distilljob.dev/role"
LABEL_STUDENT: Final = "distilljob.dev/student"
LABEL_ATTEMPT: Final = "distilljob.dev/attempt"
ANNOTATION_DIGEST: Final = "distilljob.dev/digest"
"""Of the manifest that an object was made of."""

ANNOTATION_RESTART: Final = "distilljob.dev/restart-"
"""With a student's name, on a DistillJob: somebody wishes one of its attempts to be over."""


def student_attempt(job: str, student: str, attempt: int) -> str:
    """Name one attempt of one student: the Job in a cluster, the log file on one machine."""
    return f"{job}-{student}-a{attempt}"


def student_identity(job_uid: str, student: str) -> str:
    """Name a student in its certificate's URI SAN."""
    return f"distilljob://{job_uid}/{student}"


def aggregator(job: str) -> str:
    """Name the aggregator's Deployment and Service."""
    return f"{job}-{AGGREGATOR}"


def tls_secret(job: str, uid: str) -> str:
    """Name the Secret that holds the certificates of all processes."""
    return f"{job}-tls-{_short(uid)}"


def spec_config_map(job: str, uid: str) -> str:
    """Name the ConfigMap that holds the snapshot of the job."""
    return f"{job}-spec-{_short(uid)}"


def control_config_map(job: str) -> str:
    """Name the ConfigMap that holds the wishes for the aggregator."""
    return f"{job}-control"


def network_policy(job: str) -> str:
    """Name the NetworkPolicy around all pods of the job."""
    return f"{job}-network"


def checkpoint_claim(job: str, student: str, uid: str) -> str:
    """Name the claim of one student's state."""
    return f"{job}-{student}-ckpt-{_short(uid)}"


def state_claim(job: str, uid: str) -> str:
    """Name the claim of the aggregator's state."""
    return f"{job}-state-{_short(uid)}"


def results_claim(job: str, uid: str) -> str:
    """Name the claim of the results, where the user brings none."""
    return f"{job}-results-{_short(uid)}"


def _short(uid: str) -> str:
    return uid[:8]
