"""`distilljob render`: the objects that the operator would make of a file."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from distilljob import console
from distilljob.errors import BadInput
from distilljob.job_file import dump_yaml, read_job
from distilljob_core.lifecycle.model import Control
from distilljob_core.spec.cluster import cluster_problems
from distilljob_core.spec.job import DistillJob
from distilljob_core.spec.resolve import student_names
from distilljob_operator.manifests.everything import everything
from distilljob_operator.manifests.jobs import student_job
from distilljob_operator.manifests.secrets import secret_keys
from distilljob_operator.manifests.settings import unnamed_images

UNKNOWN_UID: Final = "00000000-0000-0000-0000-000000000000"
"""Stands for what the API server gives."""
HIDDEN: Final = b"made at the first start, and shown to nobody"


def run_render(file: Path, settings: Sequence[str]) -> int:
    """Print all objects of one job as YAML; the exit code."""
    job = read_job(file, settings).job
    if problems := list(cluster_problems(job)):
        raise BadInput(f"{file} cannot run in a cluster", problems)
    documents = "---\n".join(dump_yaml(made) for made in render(job))
    console.print_text(
        f"# What the operator makes of {job.metadata.name}; zeros stand for its uid, registry.example.com for yours.\n"
        f"{documents.rstrip()}"
    )
    return 0


def render(job: DistillJob) -> list[dict[str, Any]]:
    """Make all objects of a job in the order of their creation, the first attempts last."""
    uid = job.metadata.uid or UNKNOWN_UID
    job = job.model_copy(update={"metadata": job.metadata.model_copy(update={"uid": uid})})
    images = unnamed_images(version("distilljob"))
    certificates = dict.fromkeys(secret_keys(job), HIDDEN)
    first = student_names(job.spec)[: job.spec.placement.maximum_concurrent_students]
    return [
        *everything(job, images, certificates, Control(job.spec.stop_after_cycle)),
        *(student_job(job, student, 1, images) for student in first),
    ]
