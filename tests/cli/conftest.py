"""Job files for the command line's tests."""

from collections.abc import Callable
from pathlib import Path

import pytest

DIGITS = """\
apiVersion: distilljob.dev/v1alpha1
kind: DistillJob
metadata: {name: tiny}
spec:
  dataset: {name: digits}
  method: {cycles: 2, independentEpochs: 1, distillEpochs: 1}
  training: {batchSize: 50, optimizer: {learningRate: 0.05}}
  students:
    - {name: mlp, gpus: 0, model: {name: mlp_small}}
    - {name: cnn, gpus: 0, model: {name: cnn_small}, training: {optimizer: {kind: AdamW, learningRate: 0.001}}}
"""

JobFileMaker = Callable[[str], Path]


@pytest.fixture
def job_file(tmp_path: Path) -> Path:
    """A good job."""
    path = tmp_path / "job.yaml"
    path.write_text(DIGITS)
    return path


@pytest.fixture
def write_job(tmp_path: Path) -> JobFileMaker:
    """Write any text as a job file."""

    def write(text: str) -> Path:
        path = tmp_path / "written.yaml"
        path.write_text(text)
        return path

    return write
