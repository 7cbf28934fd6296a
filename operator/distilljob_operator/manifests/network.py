"""How pods find the aggregator, and who may speak to them."""

from distilljob_core import names
from distilljob_core.spec.job import DistillJob
from distilljob_operator.manifests.objects import Manifest, identity, labels, metadata, role_identity


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


def network_policy(job: DistillJob) -> Manifest:
    """Let this job's students reach its aggregator, and everybody read metrics and round tables; nothing else comes in.

    What goes out is not limited: datasets and weights come from anywhere.
    """
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
                {"ports": [{"port": names.HTTP_PORT, "protocol": "TCP"}]},
            ],
        },
    }
