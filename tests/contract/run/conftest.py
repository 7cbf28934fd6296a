"""A `distilljob run` as a process whose output is read line by line, and networks that misbehave on demand."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from PIL import Image

DISTILLJOB = Path(sys.executable).parent / "distilljob"

MODELS = '''
"""Networks for the tests of the local runner."""

import os
import time

import torch
from torch import nn
from torch.utils.data import TensorDataset


class Slow(nn.Module):
    """A linear network that is slow, or leaves in the middle, in its first attempt."""

    def __init__(self, num_classes, delay=0.0, leave_after=0):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))
        is_first = os.environ.get("DISTILLJOB_ATTEMPT") == "1"
        self.delay = delay if is_first else 0.0
        self.left = leave_after if is_first else 0

    def forward(self, x):
        if torch.is_grad_enabled():
            time.sleep(self.delay)
        if self.training and self.left:
            self.left -= 1
            if self.left == 0:
                os._exit(0)
        return self.layers(x)


def slow(num_classes, **options):
    return Slow(num_classes, **options)


def broken(num_classes):
    raise RuntimeError("the weights of this network are lost:\\n  all of them\\n")


def uneven(split, root):
    """Another dataset for one of the students."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    scale = 8 if os.environ["DISTILLJOB_STUDENT"] == "cnn" else 16
    inputs = torch.from_numpy(pixels).float().div(scale).reshape(-1, 1, 8, 8)
    return TensorDataset(inputs[:200], torch.from_numpy(labels)[:200])
'''

JOB = """\
apiVersion: distilljob.dev/v1alpha1
kind: DistillJob
metadata: {name: tiny}
spec:
  dataset: {name: digits, options: {train_samples: 200}}
  method: {cycles: 2, independentEpochs: 2, distillEpochs: 2}
  training: {batchSize: 20, optimizer: {learningRate: 0.05}}
  checkpoints: {intervalSeconds: 1}
  failurePolicy: {backoff: {baseSeconds: 0, maxSeconds: 0}}
  students:
    - {name: mlp, gpus: 0, model: {name: mlp_small}}
    - {name: cnn, gpus: 0, model: {name: cnn_small}}
"""


class Run:
    """One `distilljob run` and its folder."""

    def __init__(self, root: Path, folder: Path, arguments: list[str], stderr: int) -> None:
        self.folder = folder
        self.cwd = root
        self.program = [str(DISTILLJOB)]
        self.lines: list[str] = []
        environment = {key: value for key, value in os.environ.items() if not key.startswith("DISTILLJOB_")}
        environment |= {"PYTHONPATH": str(root), "COLUMNS": "200"}
        self.environment = environment
        command = [str(DISTILLJOB), "run", str(root / "job.yaml"), "-o", str(folder), *arguments]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=root, env=environment
        )

    def follow(self, command: str, *arguments: str) -> subprocess.Popen[str]:
        """Give another command on the run's folder that goes on for a while."""
        asked = [*self.program, command, str(self.folder), *arguments]
        return subprocess.Popen(asked, stdout=subprocess.PIPE, text=True, env=self.environment)

    def until(self, pattern: str) -> str:
        """Read on to a line that matches."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if re.search(pattern, line):
                return line
        raise AssertionError(f"no line matches {pattern!r}:\n{''.join(self.lines)}")

    def until_logged(self, log: str, text: str) -> None:
        """Wait for a text in the log of one of the run's processes."""
        path = self.folder / "logs" / log
        while not path.exists() or text not in path.read_text():
            assert self.process.poll() is None
            time.sleep(0.02)

    def end(self) -> int:
        """Read on to the end; the exit code."""
        assert self.process.stdout is not None
        self.lines += self.process.stdout
        return self.process.wait()

    @property
    def output(self) -> str:
        """Everything read so far."""
        return "".join(self.lines)

    def children(self) -> dict[str, int]:
        """Find the processes of this run by what they were told: student, or aggregator, to process number."""
        found = {}
        for entry in Path("/proc").iterdir():
            try:
                argv = (entry / "cmdline").read_bytes().split(b"\0")
                variables = (entry / "environ").read_bytes().split(b"\0")
            except (OSError, NotADirectoryError):
                continue
            told = dict(variable.decode().partition("=")[::2] for variable in variables if b"=" in variable)
            if told.get("DISTILLJOB_SPEC_FILE") == str(self.folder / "job.json") and b"--exit-with-parent" in argv:
                found[told.get("DISTILLJOB_STUDENT", "aggregator")] = int(entry.name)
        return found

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to one of the run's processes."""
        os.kill(self.children()[name], number)

    def state(self) -> dict[str, Any]:
        """Read what the runner remembers."""
        remembered: dict[str, Any] = json.loads((self.folder / "state.json").read_text())["lifecycle"]
        return remembered

    def result(self) -> dict[str, Any]:
        """Read what the run left."""
        left: dict[str, Any] = json.loads((self.folder / "result.json").read_text())
        return left

    def restarts(self) -> dict[str, int]:
        """Restarts by student, as the result tells them."""
        return {student["name"]: student["restarts"] for student in self.result()["students"]}


Runs = Callable[..., Run]

UNCOVERED = """\
import os

for name in [name for name in os.environ if name.startswith("COVERAGE")]:
    del os.environ[name]
"""
"""Run when Python has started, and coverage with it: the runner is measured, the trainers below it are elsewhere."""


@pytest.fixture
def distilljob_run(tmp_path: Path) -> Iterator[Runs]:
    """Start `distilljob run` on a small job of digits with `--set` settings and further arguments."""
    (tmp_path / "job.yaml").write_text(JOB)
    (tmp_path / "misbehaving.py").write_text(dedent(MODELS))
    (tmp_path / "sitecustomize.py").write_text(UNCOVERED)
    runs: list[Run] = []

    def begin(
        *settings: str, folder: str = "run", arguments: tuple[str, ...] = (), stderr: int = subprocess.STDOUT
    ) -> Run:
        flags = [flag for setting in settings for flag in ("--set", setting)]
        runs.append(Run(tmp_path, tmp_path / folder, [*flags, *arguments], stderr))
        return runs[-1]

    yield begin
    for run in runs:
        run.process.kill()
        run.process.wait()
        for stream in (run.process.stdout, run.process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture
def damaged_images(tmp_path: Path) -> Path:
    """Put a folder of images where `image_folder` looks by itself, and cut one file short; gives that file."""
    for split, name, number in product(("train", "test"), ("a", "b"), range(10)):
        path = tmp_path / "data" / split / name / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, number, number)).save(path)
    damaged = tmp_path / "data" / "train" / "b" / "7.png"
    damaged.write_bytes(damaged.read_bytes()[:40])
    return damaged
