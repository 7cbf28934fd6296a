"""The small real job that suffers: three students of different kinds on bundled digits, and its weights."""

import hashlib
import os
import sys
from pathlib import Path

STUDENTS = ("mlp", "cnn", "cnn-bn")
CYCLES = 2
STEPS_PER_EPOCH = 72
DISTILLJOB = Path(sys.executable).parent / "distilljob"
STARTUP = Path(__file__).parent / "startup"

YAML = """\
apiVersion: distilljob.dev/v1alpha1
kind: DistillJob
metadata: {name: chaos}
spec:
  dataset: {name: digits, options: {train_samples: 800}}
  method: {cycles: 2, independentEpochs: 2, distillEpochs: 2}
  training: {batchSize: 10, optimizer: {learningRate: 0.02}}
  checkpoints: {intervalSeconds: 1}
  startupDeadlineSeconds: 31536000
  failurePolicy:
    maxRestartsPerStudent: 1000
    maxRestarts: 100000
    backoff: {baseSeconds: 0, maxSeconds: 0}
    hang:
      startupSeconds: 180
      steadySeconds: 15
      evaluationSeconds: 15
      exchangeSeconds: 15
      checkpointSeconds: 15
      maxRestartsPerStudent: 1000
  students:
    - {name: mlp, gpus: 0, model: {name: mlp_small}, training: {optimizer: {kind: AdamW, learningRate: 0.002}}}
    - {name: cnn, gpus: 0, model: {name: cnn_small}, training: {schedule: {kind: Cosine}}}
    - {name: cnn-bn, gpus: 0, model: {name: cnn_bn_small}}
"""


def command(folder: Path, settings: tuple[str, ...] = ()) -> list[str]:
    """What a user would give, again and again."""
    flags = [flag for setting in settings for flag in ("--set", setting)]
    return [str(DISTILLJOB), "run", str(folder.with_suffix(".yaml")), "-o", str(folder), *flags]


def environment(chaos: dict[str, str]) -> dict[str, str]:
    """The environment of a runner under chaos, which all its children inherit."""
    own = {
        key: value for key, value in os.environ.items() if not key.startswith(("DISTILLJOB_", "CHAOS_", "COVERAGE_"))
    }
    path = os.pathsep.join(filter(None, (str(STARTUP), own.get("PYTHONPATH"))))
    return {**own, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "200", **chaos}


def weights(folder: Path) -> dict[str, str]:
    """Digest all weights that a finished run left, by file."""
    files = sorted((folder / "results").glob("*.safetensors"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
