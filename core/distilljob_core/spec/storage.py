"""Where state, checkpoints and results live."""

from typing import Annotated, Literal

from pydantic import Field

from distilljob_core.spec.base import Part, Quantity, Text
from distilljob_core.spec.pod import Pod


class Storage(Part):
    """A claim that the operator makes. On one machine the run directory takes its place."""

    size: Quantity = "10Gi"
    """Size of the claim."""
    storage_class_name: Text | None = None
    """Storage class; null = the cluster's default."""


class ResultsStorage(Storage):
    """The claim that keeps results."""

    claim_name: Text | None = None
    """An existing claim to use instead; results go into a folder named after the job's UID, and stay."""


class AggregatorPart(Part):
    """The process that combines students into their teacher."""

    storage: Storage = Field(default_factory=Storage)
    """Claim for journal and soft labels; `distilljob validate --estimate` says how much they need."""
    teacher_history: Literal["All"] | Annotated[int, Field(ge=1, le=1000)] = "All"
    """How many cycles' teachers are kept for students that fell behind."""
    pod: Pod = Field(default_factory=Pod)
    """Changes to the aggregator's pod, laid over what spec.pod says of all pods."""


class Checkpoints(Part):
    """One folder per student, from which a new attempt goes on exactly."""

    interval_seconds: Annotated[int, Field(ge=1, le=86_400)] = 300
    """Longest time between two checkpoints within a phase; phase edges are always saved."""
    storage: Storage = Field(default_factory=Storage)
    """One ReadWriteOnce claim per student."""
    retention: Literal["Delete", "Retain"] = "Delete"
    """What happens to the claims when the DistillJob is deleted."""


class Results(Part):
    """What is left at the end: weights, ensemble, result.json."""

    storage: ResultsStorage = Field(default_factory=ResultsStorage)
    """Claim for results."""
    formats: Annotated[list[Literal["Safetensors", "TorchExport", "Onnx"]], Field(min_length=1, max_length=3)] = [
        "Safetensors"
    ]
    """Formats of the exported networks."""
    retention: Literal["Retain", "Delete"] = "Retain"
    """What happens to the claim when the DistillJob is deleted."""
