"""What every object of a job has: identity, labels and an owner."""

from hashlib import sha256
from json import dumps
from typing import Any

from distilljob_core import names
from distilljob_core.spec.job import API_VERSION, KIND, DistillJob

Manifest = dict[str, Any]

OPERATOR = "distilljob-operator"
"""Who manages the objects: a label's value, and the field manager of server-side apply."""


def identity(job: DistillJob) -> dict[str, str]:
    """Give the labels that all pods of this incarnation of the job share; for selectors."""
    return {names.LABEL_JOB: job.metadata.name, names.LABEL_UID: job.metadata.uid}


def role_identity(job: DistillJob, role: str) -> dict[str, str]:
    """Give the labels that all pods of one role share; for selectors."""
    return identity(job) | {names.LABEL_ROLE: role}


def labels(job: DistillJob, role: str, student: str | None = None, attempt: int | None = None) -> dict[str, str]:
    """Give all labels of an object."""
    return {
        "app.kubernetes.io/name": "distilljob",
        "app.kubernetes.io/instance": job.metadata.name,
        "app.kubernetes.io/component": role,
        "app.kubernetes.io/part-of": "distilljob",
        "app.kubernetes.io/managed-by": OPERATOR,
        **role_identity(job, role),
        **({} if student is None else {names.LABEL_STUDENT: student}),
        **({} if attempt is None else {names.LABEL_ATTEMPT: str(attempt)}),
    }


def metadata(job: DistillJob, name: str, labels: dict[str, str], *, is_owned: bool = True) -> Manifest:
    """Give an object's metadata; what is not owned stays when the DistillJob is deleted."""
    made: Manifest = {"name": name, "labels": labels}
    if job.metadata.namespace is not None:
        made["namespace"] = job.metadata.namespace
    if is_owned:
        made["ownerReferences"] = [owner_reference(job)]
    return made


def owner_reference(job: DistillJob) -> Manifest:
    """Say whose an object is. Deleting the job never waits for its children."""
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": job.metadata.name,
        "uid": job.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def with_digest(body: Manifest) -> Manifest:
    """Note on an object what it was made of, so that one that has changed since is known without reading it back."""
    digest = sha256(dumps(body, sort_keys=True).encode()).hexdigest()[:16]
    return body | {"metadata": body["metadata"] | {"annotations": {names.ANNOTATION_DIGEST: digest}}}
