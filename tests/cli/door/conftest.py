"""A job of a few seconds, and one run of it that no test changes."""

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
    return distilljob.run(TINY, folder)
