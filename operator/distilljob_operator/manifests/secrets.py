"""The job's certificates as a Secret, and which of them each pod sees."""

from base64 import b64encode
from collections.abc import Mapping
from typing import Final

from distilljob_core import names
from distilljob_core.spec.cluster import OWN_VOLUMES
from distilljob_core.spec.job import DistillJob
from distilljob_core.spec.resolve import student_names
from distilljob_operator.manifests.objects import Manifest, labels, metadata

AUTHORITY_KEY: Final = "ca.crt"
"""Key of the authority's certificate; all pods see it."""


def owner_keys(student: str | None) -> tuple[str, str]:
    """Name the keys of certificate and private key of one process; None = the aggregator."""
    owner = names.AGGREGATOR if student is None else f"{names.STUDENT}-{student}"
    return f"{owner}.crt", f"{owner}.key"


def secret_keys(job: DistillJob) -> tuple[str, ...]:
    """Name everything that a job's Secret must hold, whoever makes it."""
    owners = (None, *student_names(job.spec))
    return (AUTHORITY_KEY, *(key for owner in owners for key in owner_keys(owner)))


def tls_secret(job: DistillJob, certificates: Mapping[str, bytes]) -> Manifest:
    """Keep the job's certificates; made once, never read back.

    Args:
        job: whose they are.
        certificates: PEM by key of the Secret, see `secret_keys`.
    """
    name = names.tls_secret(job.metadata.name, job.metadata.uid)
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "immutable": True,
        "metadata": metadata(job, name, labels(job, names.AGGREGATOR)),
        "data": {key: b64encode(content).decode() for key, content in certificates.items()},
    }


def tls_volume(job: DistillJob, student: str | None) -> Manifest | None:
    """Give the volume with one process's own certificates, under the names that it reads; None without TLS."""
    security = job.spec.security
    if security.tls == "Disabled":
        return None
    certificate, key = owner_keys(student)
    items = {AUTHORITY_KEY: "ca.crt", certificate: "tls.crt", key: "tls.key"}
    return {
        "name": f"{OWN_VOLUMES}tls",
        "secret": {
            "secretName": security.tls_secret_name or names.tls_secret(job.metadata.name, job.metadata.uid),
            "items": [{"key": key, "path": path} for key, path in items.items()],
            "defaultMode": 0o440,
        },
    }
