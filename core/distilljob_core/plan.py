"""From the resource to the processes that carry it out: the same for pods and for one machine."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from distilljob_core import names
from distilljob_core.spec.job import DistillJob
from distilljob_core.spec.resolve import ResolvedStudent


@dataclass(frozen=True, slots=True)
class Places:
    """Where a process finds what a pod finds in its mounts; the defaults are the pod's."""

    config: str = names.MOUNT_CONFIG
    data: str = names.MOUNT_DATA
    checkpoints: str = names.MOUNT_CHECKPOINTS
    state: str = names.MOUNT_STATE
    results: str = names.MOUNT_RESULTS
    grpc_port: int = names.GRPC_PORT
    http_port: int = names.HTTP_PORT
    bind: str = "0.0.0.0"  # noqa: S104 - inside a pod; NetworkPolicy and mTLS guard it


@dataclass(frozen=True, slots=True)
class Process:
    """One process of a job."""

    name: str
    role: str
    argv: tuple[str, ...]
    gpus: int = 0
    student: str | None = None
    attempt: int = 1
    env: Mapping[str, str] = field(default_factory=dict)


def aggregator_process(job: DistillJob, places: Places) -> Process:
    """The process that combines the students."""
    argv = (
        "distilljob-aggregator",
        f"--state={places.state}",
        f"--results={places.results}",
        f"--control={places.config}/{names.CONTROL_FILE_NAME}",
        f"--bind={places.bind}",
        f"--grpc-port={places.grpc_port}",
        f"--http-port={places.http_port}",
    )
    name = f"{job.metadata.name}-{names.AGGREGATOR}"
    return Process(name, names.AGGREGATOR, argv, env=_common_env(job, places))


def student_process(
    job: DistillJob, student: ResolvedStudent, attempt: int, pod_uid: str, aggregator: str, places: Places
) -> Process:
    """One attempt of one student.

    Args:
        job: the snapshot that the whole job runs on.
        student: the student, with replicas and overrides worked out.
        attempt: from 1; grows with every new start.
        pod_uid: unique for this start; the aggregator fences by it.
        aggregator: host:port, or file:PATH of a file that holds it and may change when the aggregator restarts.
        places: where this student's folders are.
    """
    own = (
        "distilljob-trainer",
        f"--data={places.data}",
        f"--checkpoints={places.checkpoints}",
        f"--bind={places.bind}",
        f"--http-port={places.http_port}",
    )
    env = _common_env(job, places) | {
        names.ENV_STUDENT: student.name,
        names.ENV_ATTEMPT: str(attempt),
        names.ENV_POD_UID: pod_uid,
        names.ENV_AGGREGATOR: aggregator,
    }
    name = names.student_attempt(job.metadata.name, student.name, attempt)
    return Process(name, "student", student.command or own, student.gpus, student.name, attempt, env)


def _common_env(job: DistillJob, places: Places) -> dict[str, str]:
    return {
        names.ENV_SPEC_FILE: f"{places.config}/{names.SPEC_FILE_NAME}",
        names.ENV_NAME: job.metadata.name,
        names.ENV_UID: job.metadata.uid,
    }
