"""A job of a few seconds, and one run of it that no test changes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import distilljob

TINY = {
    "apiVersion": "distilljob.dev/v1alpha1",
    "kind": "DistillJob",
    "metadata": {"name": "tiny"},
    "spec": {
        "dataset": {"name": "digits", "options": {"train_samples": 200}},
        "method": {"cycles": 2, "independentEpochs": 1, "distillEpochs": 2},
        "training": {"batchSize": 20, "optimizer": {"learningRate": 0.05}},
        "failurePolicy": {"backoff": {"baseSeconds": 0, "maxSeconds": 0}},
        "students": [
            {"name": "mlp", "gpus": 0, "model": {"name": "mlp_small"}},
            {"name": "cnn", "gpus": 0, "model": {"name": "cnn_small"}},
        ],
    },
}


@contextmanager
def uncovered_trainers() -> Iterator[None]:
    """Measure this process, not the trainers it starts: they are slower for it, and measured elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("COVERAGE")]:
            patch.delenv(name)
        yield


@pytest.fixture(autouse=True)
def _uncovered_trainers() -> Iterator[None]:
    with uncovered_trainers():
        yield


@pytest.fixture
def tiny() -> dict[str, Any]:
    """The job."""
    return TINY


@pytest.fixture
def alone() -> dict[str, Any]:
    """The job with one of its students, where the number of students is not what is looked at."""
    return TINY | {"spec": TINY["spec"] | {"students": TINY["spec"]["students"][1:]}}


@pytest.fixture(scope="session")
def result(tmp_path_factory: pytest.TempPathFactory) -> distilljob.Result:
    """Its result."""
    folder: Path = tmp_path_factory.mktemp("door") / "tiny-0"
    with uncovered_trainers():
        return distilljob.run(TINY, folder)
