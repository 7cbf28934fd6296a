"""The claims of a job: state of the aggregator, results, and one of each student for its checkpoints."""

from typing import Final

from distilljob_core import names
from distilljob_core.spec.job import DistillJob
from distilljob_core.spec.resolve import student_names
from distilljob_core.spec.storage import Storage
from distilljob_operator.manifests.objects import Manifest, labels, metadata

READ_WRITE_ONCE: Final = "ReadWriteOnce"


def claims(job: DistillJob) -> list[Manifest]:
    """Make all claims of a job; results go into the user's own claim where there is one."""
    name, uid, spec = job.metadata.name, job.metadata.uid, job.spec
    made = [_claim(job, names.state_claim(name, uid), spec.aggregator.storage)]
    if spec.results.storage.claim_name is None:
        is_owned = spec.results.retention == "Delete"
        made.append(_claim(job, names.results_claim(name, uid), spec.results.storage, is_owned=is_owned))
    is_owned = spec.checkpoints.retention == "Delete"
    for student in student_names(spec):
        claim = names.checkpoint_claim(name, student, uid)
        made.append(_claim(job, claim, spec.checkpoints.storage, student=student, is_owned=is_owned))
    return made


def results_claim_name(job: DistillJob) -> str:
    """Name the claim that keeps the results: the user's, or the job's own."""
    return job.spec.results.storage.claim_name or names.results_claim(job.metadata.name, job.metadata.uid)


def results_sub_path(job: DistillJob) -> str | None:
    """Give the folder of this job's results inside the claim; None = its root."""
    return None if job.spec.results.storage.claim_name is None else job.metadata.uid


def _claim(
    job: DistillJob, name: str, storage: Storage, *, student: str | None = None, is_owned: bool = True
) -> Manifest:
    role = names.AGGREGATOR if student is None else names.STUDENT
    spec: Manifest = {"accessModes": [READ_WRITE_ONCE], "resources": {"requests": {"storage": storage.size}}}
    if storage.storage_class_name is not None:
        spec["storageClassName"] = storage.storage_class_name
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata(job, name, labels(job, role, student), is_owned=is_owned),
        "spec": spec,
    }
