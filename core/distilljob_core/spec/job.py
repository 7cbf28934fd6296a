"""The resource as a whole."""

from typing import Annotated, Any, Literal

from pydantic import Field

from distilljob_core.spec.base import Name, Part, Text
from distilljob_core.spec.dataset import Dataset
from distilljob_core.spec.method import Method
from distilljob_core.spec.pod import Pod
from distilljob_core.spec.policies import FailurePolicy, Placement, Quorum, Seconds, Security
from distilljob_core.spec.storage import AggregatorPart, Checkpoints, Results
from distilljob_core.spec.students import Student
from distilljob_core.spec.training import Training

API_GROUP = "distilljob.dev"
API_VERSION = f"{API_GROUP}/v1alpha1"
KIND = "DistillJob"


class DistillJobSpec(Part):
    """A group of students, what they learn from, and how they teach each other."""

    dataset: Dataset
    """What is learned from."""
    method: Method = Field(default_factory=Method)
    """How students teach each other."""
    training: Training = Field(default_factory=Training)
    """How students descend; each may override any of it."""
    students: Annotated[list[Student], Field(min_length=1, max_length=64)]
    """The networks of the group, by name."""
    aggregator: AggregatorPart = Field(default_factory=AggregatorPart)
    """The process that combines students into their teacher."""
    checkpoints: Checkpoints = Field(default_factory=Checkpoints)
    """From where a new attempt goes on."""
    results: Results = Field(default_factory=Results)
    """What is left at the end."""
    placement: Placement = Field(default_factory=Placement)
    """Fewer GPUs than students."""
    failure_policy: FailurePolicy = Field(default_factory=FailurePolicy)
    """How failed students are replaced."""
    quorum: Quorum = Field(default_factory=Quorum)
    """How many students a cycle needs."""
    stop_after_cycle: Annotated[int, Field(ge=1, le=1000)] | None = None
    """End well after this cycle. The learning-rate schedule and the ramps are not rewritten."""
    startup_deadline_seconds: Seconds = 3600
    """Time until enough students have joined for the first time."""
    active_deadline_seconds: Seconds | None = None
    """Time the job may be active; suspended time does not count. null = no limit."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=31_536_000)] | None = None
    """Delete the DistillJob this long after its end; null = keep."""
    cleanup_policy: Literal["Running", "All", "Nothing"] = "Running"
    """What is removed at the end. Running: pods and Deployment. All: also Services, ConfigMaps and Secret."""
    suspend: bool = False
    """Save, free everything and wait. The job goes on exactly when this is false again."""
    security: Security = Field(default_factory=Security)
    """Who may speak to whom."""
    pod: Pod = Field(default_factory=Pod)
    """Changes to all pods of the job. Image, resources, environment and volumes are those of students alone."""


class Metadata(Part):
    """What the file says of itself; further fields of Kubernetes' metadata are kept as they are."""

    model_config = {**Part.model_config, "extra": "allow"}

    name: Name
    """Name of the job."""
    namespace: Text | None = None
    """Where it lives in a cluster."""
    uid: str = ""
    """Given by the API server, or by the local runner."""
    annotations: dict[str, Any] = Field(default_factory=dict)
    """Only wishes for restarts are read, see `distilljob restart`."""


class DistillJob(Part):
    """One DistillJob file."""

    model_config = {**Part.model_config, "title": KIND}

    api_version: Literal["distilljob.dev/v1alpha1"]
    """Always distilljob.dev/v1alpha1."""
    kind: Literal["DistillJob"]
    """Always DistillJob."""
    metadata: Metadata
    """Name and identity."""
    spec: DistillJobSpec
    """What is wanted."""
    status: dict[str, Any] | None = None
    """Written by the operator; ignored on input."""
