"""A curated patch over the pods that the operator makes: what users change, not a whole PodTemplate."""

from typing import Annotated, Any, Literal

from pydantic import Field

from distilljob_core.spec.base import Part, Quantity, RawObjects, Text

Labels = Annotated[
    dict[Annotated[str, Field(max_length=317)], Annotated[str, Field(max_length=4096)]], Field(max_length=64)
]


class Resources(Part):
    """Requests and limits of the container. A resource named on one side only has the same amount on the other."""

    requests: dict[Text, Quantity | int] | None = None
    """Least amounts, by resource name."""
    limits: dict[Text, Quantity | int] | None = None
    """Greatest amounts, by resource name. An explicit extended resource here wins over `gpus`."""


class Pod(Part):
    """Changes to pods; fields as in Kubernetes' Pod and Container unless said otherwise. One machine has no pods."""

    image: Annotated[str, Field(max_length=512)] | None = None
    """Container image."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """When to pull the image."""
    image_pull_secrets: RawObjects | None = None
    """Secrets for pulling the image, as in a Pod."""
    service_account_name: Text | None = None
    """Service account; its token is not mounted."""
    node_selector: Labels | None = None
    """Labels a node must carry."""
    tolerations: RawObjects | None = None
    """Tolerations, as in a Pod."""
    affinity: dict[str, Any] | None = None
    """Affinity, as in a Pod."""
    topology_spread_constraints: RawObjects | None = None
    """Topology spread constraints, as in a Pod."""
    priority_class_name: Text | None = None
    """Priority class."""
    scheduler_name: Text | None = None
    """Scheduler."""
    runtime_class_name: Text | None = None
    """Runtime class."""
    resources: Resources | None = None
    """Requests and limits of the container. Whole CPUs of the limit are also the number of a student's threads."""
    gpu_resource_name: Text | None = None
    """Name of the GPU resource; null = nvidia.com/gpu. Set it for MIG slices or other makers."""
    shared_memory: Quantity | None = None
    """Size of /dev/shm in memory; null = 2Gi."""
    termination_grace_period_seconds: Annotated[int, Field(ge=0, le=86_400)] | None = None
    """Time to save after SIGTERM; null = 120."""
    env: RawObjects | None = None
    """Environment variables, as in a Container; names beginning with DISTILLJOB_ are taken."""
    env_from: RawObjects | None = None
    """Environment sources, as in a Container."""
    volumes: RawObjects | None = None
    """Further volumes, as in a Pod; names beginning with distilljob- are taken."""
    volume_mounts: RawObjects | None = None
    """Further mounts, as in a Container."""
    labels: Labels | None = None
    """Further labels; distilljob's own cannot be changed."""
    annotations: Labels | None = None
    """Further annotations."""
    security_context: dict[str, Any] | None = None
    """Security context of the pod, as in a Pod, laid over one that meets the restricted Pod Security Standard."""
