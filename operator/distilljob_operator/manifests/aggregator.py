"""The aggregator: a Deployment of one that is replaced, never doubled."""

from typing import Any, Final

from distilljob_core import names
from distilljob_core.plan import Places, aggregator_process
from distilljob_core.spec.cluster import OWN_VOLUMES
from distilljob_core.spec.job import DistillJob
from distilljob_operator.manifests import resources
from distilljob_operator.manifests.objects import Manifest, labels, metadata, role_identity
from distilljob_operator.manifests.patches import aggregator_patch
from distilljob_operator.manifests.pods import Container, Mount, claim_volume, pod_template
from distilljob_operator.manifests.settings import Images
from distilljob_operator.manifests.storage import results_claim_name, results_sub_path


def _probe(path: str, period_seconds: int, failures: int) -> Manifest:
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": period_seconds,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


PROBES: Final[dict[str, Any]] = {
    # It listens once it has read its journal; ending one that still reads would make it begin again, for ever.
    "startupProbe": _probe("/livez", 2, 1800),
    "livenessProbe": _probe("/livez", 10, 6),
    "readinessProbe": _probe("/readyz", 5, 3),
}


def aggregator_deployment(job: DistillJob, images: Images) -> Manifest:
    """Make the aggregator's Deployment; the old pod has gone before the next one opens its volumes."""
    own = labels(job, names.AGGREGATOR)
    patch = aggregator_patch(job.spec, images.pods.aggregator)
    container = Container(
        process=aggregator_process(job, Places()),
        image=images.aggregator,
        resources=resources.container_resources({**resources.AGGREGATOR, **resources.amounts(patch.resources)}),
        ports={"grpc": names.GRPC_PORT, "http": names.HTTP_PORT},
        mounts=_mounts(job),
        env={"OMP_NUM_THREADS": "1"},
        probes=PROBES,
    )
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(job, names.aggregator(job.metadata.name), own),
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 0,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": role_identity(job, names.AGGREGATOR)},
            "template": pod_template(job, container, patch, images, own),
        },
    }


def _mounts(job: DistillJob) -> list[Mount]:
    name, uid = job.metadata.name, job.metadata.uid
    # One volume of both, and no subPath: Kubernetes renews only whole volumes when a ConfigMap changes.
    sources = (names.spec_config_map(name, uid), names.control_config_map(name))
    config: Manifest = {
        "name": f"{OWN_VOLUMES}config",
        "projected": {"sources": [{"configMap": {"name": source}} for source in sources]},
    }
    return [
        Mount(config, names.MOUNT_CONFIG, read_only=True),
        Mount(claim_volume("state", names.state_claim(name, uid)), names.MOUNT_STATE),
        Mount(claim_volume("results", results_claim_name(job)), names.MOUNT_RESULTS, results_sub_path(job)),
    ]
