"""Tiny students on 120 digits: the real thing, small."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog
import structlog.testing
import torch
from torch import nn

from distilljob_aggregator.accumulator import Accumulator
from distilljob_core.softlabels.codecs import codec
from distilljob_core.spec.base import merge
from distilljob_core.spec.job import DistillJobSpec
from distilljob_core.spec.load import check_job
from distilljob_core.spec.resolve import resolve_students
from distilljob_trainer import build, labels
from distilljob_trainer.algorithm import Event, Hyperparameters, Student
from distilljob_trainer.cohort import train_together
from distilljob_trainer.data.split import Data
from distilljob_trainer.models import registry
from distilljob_trainer.teacher import Classroom

SPEC: dict[str, Any] = {
    "dataset": {"name": "digits", "options": {"train_samples": 120}, "holdout": {"fraction": 0.2}},
    "method": {"cycles": 2, "independentEpochs": 1, "distillEpochs": 2},
    "training": {"batchSize": 32, "optimizer": {"learningRate": 0.05}},
    "students": [{"name": "bn", "gpus": 0, "model": {"name": "cnn_bn_small"}}],
}


def drop_bn(num_classes: int) -> nn.Module:
    """BatchNorm and dropout: buffers and random draws, both of which a resume must get right."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, num_classes)
    )


def drop(num_classes: int) -> nn.Module:
    """Dropout without BatchNorm."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, num_classes))


class Noisy(nn.Module):
    """Draws from all three global generators, in every mode."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(64, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Give logits of inputs scaled by chance."""
        return self.linear(x.flatten(1) * (torch.rand(()) + random.random() + np.random.rand()) / 3)


class Centered(nn.Module):
    """Subtracts a running mean that its state_dict leaves out."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(64, num_classes)
        self.mean: torch.Tensor
        self.register_buffer("mean", torch.zeros(64), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Give logits."""
        if self.training:
            self.mean.lerp_(x.detach().flatten(1).mean(dim=0), 0.1)
        return self.linear(x.flatten(1) - self.mean)


@dataclass(frozen=True)
class Group:
    """Students of one job, built and ready."""

    spec: DistillJobSpec
    data: Data
    rules: labels.Exchange
    members: list[tuple[Student, Hyperparameters]]
    classroom: Classroom

    def events(self) -> list[tuple[str, Event]]:
        """Train everybody to the end."""
        return [(student.name, event) for student, event in self.run()]

    def run(self) -> Any:
        """Give the events of everybody's training."""
        return train_together(self.members, self.data, self.rules, self.classroom)

    @property
    def student(self) -> Student:
        """The first of them."""
        return self.members[0][0]

    def weights(self) -> bytes:
        """All weights and buffers of all students."""
        return b"".join(
            tensor.numpy().tobytes() for student, _ in self.members for tensor in student.model.state_dict().values()
        )


@pytest.fixture(autouse=True)
def _as_torch_comes() -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(False)
    torch.utils.deterministic.fill_uninitialized_memory = True


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


@pytest.fixture(autouse=True)
def _networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.BUILT_IN, "drop_bn", drop_bn)
    monkeypatch.setitem(registry.BUILT_IN, "drop", drop)
    monkeypatch.setitem(registry.BUILT_IN, "noisy", Noisy)
    monkeypatch.setitem(registry.BUILT_IN, "centered", Centered)


@pytest.fixture
def tree() -> Any:
    """Make a job as plain JSON types, changes laid over the tiny one."""

    def make(**changes: Any) -> dict[str, Any]:
        return {
            "apiVersion": "distilljob.dev/v1alpha1",
            "kind": "DistillJob",
            "metadata": {"name": "tiny", "uid": "uid-1"},
            "spec": merge(SPEC, changes),
        }

    return make


@pytest.fixture
def group(tree: Any) -> Any:
    """Build all students of a job."""

    def make(root: Path = Path(), **changes: Any) -> Group:
        spec = check_job(tree(**changes)).spec
        students = resolve_students(spec)
        data = build.load_data(spec, students[0], root)
        members = [
            (build.build_student(one, data, torch.device("cpu"), "Float32"), build.hyperparameters(spec, one))
            for one in students
        ]
        names = tuple(one.name for one in students)
        room = Classroom(names, spec.method.cycles, codec(spec.method.soft_labels.codec), Accumulator)
        return Group(spec, data, build.exchange_rules(spec), members, room)

    return make
