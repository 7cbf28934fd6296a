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

SPEC_FILE_NAME: Final = "job.json"
"""The snapshot of the DistillJob that every process reads."""
CONTROL_FILE_NAME: Final = "control.json"
"""The wishes that may change while the job runs: stopAfterCycle and dropped students."""

AGGREGATOR: Final = "aggregator"


def student_attempt(job: str, student: str, attempt: int) -> str:
    """Name one attempt of one student: the Job in a cluster, the log file on one machine."""
    return f"{job}-{student}-a{attempt}"


def student_identity(job_uid: str, student: str) -> str:
    """Name a student in its certificate's URI SAN."""
    return f"distilljob://{job_uid}/{student}"
