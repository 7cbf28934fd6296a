"""The networks of the group."""

from typing import Annotated

from pydantic import Field

from distilljob_core.spec.base import Name, Options, Part, Text
from distilljob_core.spec.pod import Pod
from distilljob_core.spec.training import TrainingOverride


class Model(Part):
    """One network architecture."""

    name: Text
    """A built-in name, torchvision/<name>, or package.module:factory."""
    options: Options = Field(default_factory=dict)
    """Keyword arguments of the model factory; scalars only."""


class InitialWeights(Part):
    """Where training starts from; the head is replaced when class counts differ."""

    path: Text | None = None
    """A safetensors file in a mounted volume."""
    pretrained: Text | None = None
    """Name of published torchvision weights."""


class Student(Part):
    """One network that learns with the others."""

    name: Name
    """Name of the student, unique in the job."""
    model: Model
    """Its architecture."""
    initial_weights: InitialWeights | None = None
    """Weights to start from; null = fresh ones from the seed."""
    training: TrainingOverride | None = None
    """This student's own training settings, laid over spec.training."""
    gpus: Annotated[int, Field(ge=0, le=64)] = 1
    """GPUs of this student, one process each; 0 = CPU. On one machine without GPUs the CPU is used."""
    replicas: Annotated[int, Field(ge=1, le=64)] = 1
    """The same network several times with other seeds, named alexnet-0, alexnet-1."""
    pod: Pod = Field(default_factory=Pod)
    """Changes to this student's pods, laid over spec.pod."""
    command: Annotated[list[Annotated[str, Field(max_length=1024)]], Field(max_length=64)] = []
    """Your own trainer, in any framework, that speaks the gRPC contract; empty = distilljob-trainer."""
