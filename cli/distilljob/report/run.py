"""What a report knows of one run: its job, what was measured, what happened. Finished or not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from distilljob.run_directory.events import RunEvent
from distilljob.run_directory.result import LocalResult
from distilljob_core.lifecycle.model import JobState, StudentState
from distilljob_core.measurements import CycleMeasured, EpochMeasured, Measured
from distilljob_core.results import StudentResult
from distilljob_core.spec.job import DistillJob
from distilljob_core.spec.resolve import planned_epochs

M = TypeVar("M", bound=Measured)


@dataclass(frozen=True, slots=True)
class Student:
    """One student of a run."""

    name: str
    model: str
    seed: int
    measured: tuple[Measured, ...]
    """In the order in which they were written."""
    result: StudentResult | None
    """None before the run's end, and for a student that left early."""
    state: StudentState | None
    classes: tuple[str, ...]
    """Names of the classes; empty before the student's export."""

    def of(self, kind: type[M]) -> list[M]:
        """List the measurements of one kind."""
        return [measurement for measurement in self.measured if isinstance(measurement, kind)]

    def final_accuracy(self) -> float | None:
        """Give the newest test accuracy; None before the first epoch's end."""
        epochs = self.of(EpochMeasured)
        return self.result.accuracy.last if self.result else epochs[-1].test_accuracy if epochs else None


@dataclass(frozen=True, slots=True)
class Run:
    """One run directory."""

    label: str
    """Tells it from the other runs of the report."""
    job: DistillJob
    job_text: str
    """job.yaml."""
    students: tuple[Student, ...]
    """In spec order."""
    result: LocalResult | None
    """None before the end."""
    state: JobState | None
    settings: Mapping[str, Any]
    """Threads and device, as the runner chose them."""
    events: tuple[RunEvent, ...]
    notes: tuple[str, ...]
    """What could not be read, in words."""

    @property
    def planned_epochs(self) -> int:
        """Epochs of a full run."""
        return planned_epochs(self.job.spec.method)

    @property
    def has_teacher(self) -> bool:
        """Whether the method distills at all."""
        return self.job.spec.method.name != "Independent"

    def cycles(self) -> list[CycleMeasured]:
        """List the closed cycles, each as the first student that measured it did."""
        found: dict[int, CycleMeasured] = {}
        for student in self.students:
            for cycle in student.of(CycleMeasured):
                found.setdefault(cycle.cycle, cycle)
        return [found[number] for number in sorted(found)]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Neighboring epochs of one phase."""

    cycle: int
    stage: str
    first_epoch: int
    last_epoch: int


def stretches(run: Run) -> list[Stretch]:
    """Give the phases in order, by the student that is farthest."""
    epochs = max((student.of(EpochMeasured) for student in run.students), key=len, default=[])
    found: list[Stretch] = []
    for epoch in epochs:
        if found and (found[-1].cycle, found[-1].stage) == (epoch.cycle, epoch.stage):
            found[-1] = Stretch(epoch.cycle, epoch.stage, found[-1].first_epoch, epoch.epoch)
        else:
            found.append(Stretch(epoch.cycle, epoch.stage, epoch.epoch, epoch.epoch))
    return found
