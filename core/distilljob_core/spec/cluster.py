"""What a job must also say, or must not say, to run in a cluster; and what one machine cannot do."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from distilljob_core import names
from distilljob_core.spec.base import Problem
from distilljob_core.spec.job import DistillJob
from distilljob_core.spec.pod import Pod
from distilljob_core.spec.rules import MAXIMUM_NAME_CHARACTERS, Rule

MAXIMUM_JOB_CHARACTERS: Final = MAXIMUM_NAME_CHARACTERS - len(names.results_claim("", "12345678"))
"""What the longest name made of the job's alone leaves for it."""
OWN_ENVIRONMENT: Final = "DISTILLJOB_"
OWN_VOLUMES: Final = "distilljob-"
OWN_MOUNTS: Final = (
    names.MOUNT_CONFIG,
    names.MOUNT_CHECKPOINTS,
    names.MOUNT_STATE,
    names.MOUNT_RESULTS,
    names.MOUNT_TLS,
    names.MOUNT_SCRATCH,
    names.MOUNT_SHARED_MEMORY,
)
_KEYS: Final = (("env", "name"), ("volumes", "name"), ("volumeMounts", "mountPath"))


def cluster_problems(job: DistillJob) -> Iterator[Problem]:
    """Find everything that keeps a job, fine by itself, from running in a cluster."""
    for rule in CLUSTER_RULES:
        for path in rule.broken(job):
            yield Problem(path, rule.message)
    has_volume = job.spec.dataset.volume is not None
    yield from pod_problems("spec.pod", job.spec.pod, mounts_data=has_volume)
    yield from pod_problems("spec.aggregator.pod", job.spec.aggregator.pod, mounts_data=has_volume)
    for index, student in enumerate(job.spec.students):
        yield from pod_problems(f"spec.students[{index}].pod", student.pod, mounts_data=has_volume)


def local_problems(job: DistillJob) -> Iterator[Problem]:
    """Find everything that keeps a job from running as processes of one machine.

    What it says about pods, volumes, networks and what becomes of them describes the cluster, and is no hindrance.
    """
    if job.spec.suspend:
        yield Problem("spec.suspend", "a job on one machine runs when it is told to", "remove it; Ctrl-C stops a run")
    for index, student in enumerate(job.spec.students):
        if student.command:
            yield Problem(f"spec.students[{index}].command", "runs in a cluster only", "remove it to use our trainer")


def pod_problems(path: str, pod: Pod, *, mounts_data: bool) -> Iterator[Problem]:
    """Check what a patch adds to pods: nothing may take the place of distilljob's own, nor of dataset.volume."""
    lists = (pod.env, pod.volumes, pod.volume_mounts)
    for (field, key), items in zip(_KEYS, lists, strict=True):
        for index, item in enumerate(items or ()):
            place = f"{path}.{field}[{index}]"
            if not isinstance(item.get(key), str):
                yield Problem(place, f"needs a {key}")
            elif (message := _taken(field, item[key], mounts_data=mounts_data)) is not None:
                yield Problem(f"{place}.{key}", message)


def _taken(field: str, wanted: str, *, mounts_data: bool) -> str | None:
    if field == "env" and wanted.startswith(OWN_ENVIRONMENT):
        return f"names beginning with {OWN_ENVIRONMENT} are set by the operator: choose another"
    if field == "volumes" and wanted.startswith(OWN_VOLUMES):
        return f"names beginning with {OWN_VOLUMES} are taken by the operator: choose another"
    if field == "volumeMounts":
        if wanted.rstrip("/") in OWN_MOUNTS:
            return "something of distilljob's own is mounted there: choose another folder"
        if wanted.rstrip("/") == names.MOUNT_DATA and mounts_data:
            return "dataset.volume is mounted there: choose another folder"
    return None


def _when(broken: Callable[[DistillJob], bool], path: str) -> Callable[[DistillJob], Iterable[str]]:
    return lambda job: (path,) if broken(job) else ()


def _is_no_service_name(job: DistillJob) -> bool:
    name = job.metadata.name
    return len(name) > MAXIMUM_JOB_CHARACTERS or not name[0].isalpha()


CLUSTER_RULES: Final[Sequence[Rule]] = (
    Rule(
        "",
        f"self.metadata.name.matches('^[a-z]([-a-z0-9]{{0,{MAXIMUM_JOB_CHARACTERS - 2}}}[a-z0-9])?$')",
        ".spec",
        f"metadata.name names a Service too: in a cluster it begins with a letter, holds lower-case letters, digits and"
        f" '-', and has at most {MAXIMUM_JOB_CHARACTERS} characters",
        _when(_is_no_service_name, "metadata.name"),
    ),
    Rule(
        "spec.aggregator",
        "!has(self.pod.gpuResourceName)",
        ".pod.gpuResourceName",
        "the aggregator uses no GPU: remove it",
        _when(lambda job: job.spec.aggregator.pod.gpu_resource_name is not None, "spec.aggregator.pod.gpuResourceName"),
    ),
)
"""The CRD carries them beside the rules that hold everywhere."""
