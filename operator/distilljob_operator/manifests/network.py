"""How pods find the aggregator, and who may speak to them."""

from collections.abc import Mapping
from typing import Any

from distilljob_core import names
from distilljob_core.spec.job import DistillJob
from distilljob_operator.manifests.objects import Manifest, identity, labels, metadata, role_identity
from distilljob_operator.manifests.settings import Images

_NAMESPACE_NAME = "kubernetes.io/metadata.name"
"""The label that Kubernetes itself gives every namespace."""


def readers(selector: Mapping[str, Any] | None, own_namespace: str | None) -> tuple[Manifest, ...]:
    """Say who may read metrics: the namespaces that are selected, and the operator. Without a selector: everybody.

    An operator that is in no namespace could not be let in, so it shuts nobody out.
    """
    if not selector or own_namespace is None:
        return ()
    own = {"matchLabels": {_NAMESPACE_NAME: own_namespace}}
    return {"namespaceSelector": dict(selector)}, {"namespaceSelector": own}


def aggregator_service(job: DistillJob) -> Manifest:
    """Give the aggregator's pod a name that holds over its restarts, ready or not: students wait for it themselves."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(job, names.aggregator(job.metadata.name), labels(job, names.AGGREGATOR)),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": role_identity(job, names.AGGREGATOR),
            "ports": [
                {"name": "grpc", "port": names.GRPC_PORT, "targetPort": "grpc", "protocol": "TCP"},
                {"name": "http", "port": names.HTTP_PORT, "targetPort": "http", "protocol": "TCP"},
            ],
        },
    }


def network_policy(job: DistillJob, images: Images) -> Manifest:
    """Let this job's students reach its aggregator, and readers its metrics and round tables; nothing else comes in.

    What goes out is not limited: datasets and weights come from anywhere.
    """
    metrics: Manifest = {"ports": [{"port": names.HTTP_PORT, "protocol": "TCP"}]}
    if images.readers:
        metrics["from"] = list(images.readers)
    students = {"podSelector": {"matchLabels": role_identity(job, names.STUDENT)}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(job, names.network_policy(job.metadata.name), labels(job, names.AGGREGATOR)),
        "spec": {
            "podSelector": {"matchLabels": identity(job)},
            "policyTypes": ["Ingress"],
            "ingress": [
                {"from": [students], "ports": [{"port": names.GRPC_PORT, "protocol": "TCP"}]},
                metrics,
            ],
        },
    }
