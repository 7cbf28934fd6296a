"""Run directories as a runner, its students and its aggregator leave them, small and made to measure."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from distilljob.report.command import write_report
from distilljob.run_directory.events import RunEvent
from distilljob_core.lifecycle.model import JobState, Outcome, state_to_json
from distilljob_core.measurements import (
    CycleMeasured,
    EpochMeasured,
    LogitsMeasured,
    Measured,
    ReliabilityBin,
    ReliabilityMeasured,
    SoftLabelMeasured,
)
from distilljob_core.spec.base import merge

BEGAN_SECONDS = 1_800_000_000.0


@dataclass
class RunMaker:
    """Writes one run directory; every part can be left out, or be something else."""

    root: Path
    students: Sequence[str] = ("mlp", "cnn")
    accuracies: Sequence[Sequence[float]] = ((0.5, 0.7, 0.8, 0.8), (0.4, 0.75, 0.9, 0.95))
    """By student and epoch."""
    gains: Sequence[float] = (-0.01, 0.02)
    spec: Mapping[str, Any] = field(default_factory=dict)
    """Laid over the spec."""
    events: Sequence[RunEvent] = ()
    verdict: str = "The ensemble did `well`."
    num_classes: int = 3

    def make(self, *, finished: bool = True, outcome: Outcome | None = None, attempts: bool = False) -> Path:
        """Write everything; an unfinished run has its metrics where students keep them."""
        self.root.mkdir(parents=True)
        (self.root / "results").mkdir()
        self._write("job.json", json.dumps(self.job()))
        self._write("job.yaml", "# as it was given\nkind: DistillJob\n")
        state = JobState(uid="uid", outcome=outcome)
        self._write("state.json", json.dumps({"settings": {"threads": 1}, "lifecycle": state_to_json(state)}))
        self._write("events.jsonl", "".join(f"{event.model_dump_json(by_alias=True)}\n" for event in self.events))
        for student in self.students:
            config = json.dumps({"classes": [f"class {number}" for number in range(self.num_classes)]})
            self._write(f"results/{student}.json", config)
        lines = {student: self.measured(at) for at, student in enumerate(self.students)}
        if finished:
            self._write("result.json", json.dumps(self.result()))
            merged = [{"student": name} | record for name, records in lines.items() for record in records]
            self._write("metrics.jsonl", "".join(f"{json.dumps(record)}\n" for record in merged))
        else:
            for name, records in lines.items():
                (self.root / "checkpoints" / name).mkdir(parents=True)
                text = "".join(f"{json.dumps(record)}\n" for record in records)
                self._write(f"checkpoints/{name}/metrics.jsonl", text)
        return self.root

    def job(self) -> dict[str, Any]:
        students = [{"name": name, "model": {"name": "mlp_small"}} for name in self.students]
        method = {"cycles": 2, "independentEpochs": 1, "distillEpochs": 1}
        spec = merge({"dataset": {"name": "digits"}, "method": method, "students": students}, self.spec)
        metadata = {"name": "small", "uid": "uid"}
        return {"apiVersion": "distilljob.dev/v1alpha1", "kind": "DistillJob", "metadata": metadata, "spec": spec}

    def measured(self, at: int) -> list[dict[str, Any]]:
        """Give the lines of one student: two epochs a cycle, the first without a teacher."""
        track = self.accuracies[at % len(self.accuracies)]
        epochs = [_epoch(number, accuracy) for number, accuracy in enumerate(track, start=1)]
        cycles = [_cycle(number, gain) for number, gain in enumerate(self.gains, start=1)]
        return [one.model_dump(mode="json") for one in [*epochs, *cycles, *self._looks(at)]]

    def _looks(self, at: int) -> list[Measured]:
        sharp = [0.9, *(0.1 / (self.num_classes - 1) for _ in range(self.num_classes - 1))]
        soft = [1 / self.num_classes] * self.num_classes
        bins = [ReliabilityBin(count=0, confidence=0, accuracy=0)] * 14 + [
            ReliabilityBin(count=100, confidence=0.97, accuracy=0.95)
        ]
        base = {"timestamp_seconds": BEGAN_SECONDS}
        return [
            LogitsMeasured(**base, cycle=1, smallest=-5.0, largest=9.0 * (at + 1), mean_range=10.0 * (at + 1)),
            SoftLabelMeasured(
                **base,
                cycle=1,
                sample=7,
                label=0,
                temperature=3.0,
                student_sharp=sharp,
                student_soft=soft,
                teacher_soft=soft,
            ),
            ReliabilityMeasured(**base, predictor="student", bins=bins),
            ReliabilityMeasured(**base, predictor="ensemble", bins=bins),
        ]

    def result(self) -> dict[str, Any]:
        """Give result.json."""
        students = [self._student(name, at) for at, name in enumerate(self.students)]
        return {
            "name": "small",
            "uid": "uid",
            "method": "MD",
            "cycles": 2,
            "exact": True,
            "inexactReasons": [],
            "students": students,
            "ensemble": {**_QUALITY, "members": list(self.students), "weights": [1, 1], "disagreement": None},
            "teacherGain": list(self.gains),
            "best": self.students[0],
            "seconds": 60.0,
            "exchangedBytes": {"up": 1, "down": 1},
            "verdict": self.verdict,
        }

    def _student(self, name: str, at: int) -> dict[str, Any]:
        last = self.accuracies[at % len(self.accuracies)][-1]
        return {
            "name": name,
            "model": "mlp_small",
            "attempt": 1,
            "numParameters": 1000,
            "epochs": 4,
            "steps": 40,
            "testSamples": 100,
            "accuracy": {"last": last, "selected": last, "optimistic": last, "independent": None},
            "holdout": {"last": last, "selected": last},
            "nll": 0.5,
            "ece": 0.02,
            "seconds": {"Independent": 3.0, "Distilling": 4.0, "Waiting": 1.0 + at, "Labeling": 0.5},
            "cycles": [],
            "ensemble": None,
            "artifacts": [],
            "exact": True,
            "inexactReasons": [],
            "environment": {"device": "cpu", "threads": 1, "torch": "2.0"},
            "restarts": 0,
            "barrierShare": 0.1,
        }

    def _write(self, name: str, text: str) -> None:
        (self.root / name).write_text(text, encoding="utf-8")


_QUALITY = {"accuracy": 0.93, "nll": 0.3, "ece": 0.01}


def _epoch(number: int, accuracy: float) -> EpochMeasured:
    distills = number % 2 == 0
    return EpochMeasured(
        timestamp_seconds=BEGAN_SECONDS + number,
        cycle=(number + 1) // 2,
        stage="Distill" if distills else "Independent",
        epoch=number,
        step=10 * number,
        learning_rate=0.1,
        loss=2.0 / number,
        cross_entropy=1.5 / number,
        divergence=0.1 / number if distills else 0.0,
        holdout_accuracy=accuracy,
        test_accuracy=accuracy,
        test_cross_entropy=1 - accuracy,
    )


def _cycle(number: int, gain: float) -> CycleMeasured:
    return CycleMeasured(
        timestamp_seconds=BEGAN_SECONDS,
        cycle=number,
        weight=9,
        weight_sum=18,
        ensemble_accuracy=0.9 + gain,
        best_accuracy=0.9,
        teacher_gain=gain,
        teacher_cross_entropy=0.4,
        mean_cross_entropy=0.5,
        missing=[],
        last=number == 2,
    )


RunMakerFactory = Callable[..., RunMaker]


@pytest.fixture(scope="session")
def run_maker(tmp_path_factory: pytest.TempPathFactory) -> RunMakerFactory:
    """Make run directories, each called in a folder of its own."""

    def maker(name: str = "small", **parts: Any) -> RunMaker:
        return RunMaker(tmp_path_factory.mktemp("runs") / name, **parts)

    return maker


@pytest.fixture(scope="session")
def event() -> Callable[..., RunEvent]:
    """Make events by what matters: seconds after the run's begin, reason, student."""

    def make(at_seconds: float, reason: str, student: str | None = None, **rest: Any) -> RunEvent:
        return RunEvent(timestamp_seconds=BEGAN_SECONDS + at_seconds, reason=reason, student=student, **rest)

    return make


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Write the report of some runs and read it back."""

    def write(*roots: Path) -> str:
        path = tmp_path_factory.mktemp("page") / "page.html"
        write_report(roots, path)
        return path.read_text(encoding="utf-8")

    return write
