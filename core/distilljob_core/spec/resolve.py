"""What the resource says about each student once replicas, overrides and defaults are worked out."""

from dataclasses import dataclass
from zlib import crc32

from distilljob_core.spec.base import dump, merge
from distilljob_core.spec.job import DistillJobSpec
from distilljob_core.spec.method import Method
from distilljob_core.spec.students import Model, Student
from distilljob_core.spec.training import Training


@dataclass(frozen=True, slots=True)
class ResolvedStudent:
    """One student as it will run."""

    name: str
    index: int
    model: Model
    training: Training
    gpus: int
    seed: int
    command: tuple[str, ...] = ()


def replica_names(student: Student) -> list[str]:
    """Name the replicas of one entry: alexnet, or alexnet-0 and alexnet-1."""
    if student.replicas == 1:
        return [student.name]
    return [f"{student.name}-{index}" for index in range(student.replicas)]


def student_names(spec: DistillJobSpec) -> tuple[str, ...]:
    """Name all students in spec order."""
    return tuple(name for student in spec.students for name in replica_names(student))


def resolve_training(spec: DistillJobSpec, student: Student) -> Training:
    """Lay a student's own training settings over the group's."""
    if student.training is None:
        return spec.training
    merged = merge(dump(spec.training), dump(student.training))
    return Training.model_validate(merged)


def resolve_students(spec: DistillJobSpec) -> tuple[ResolvedStudent, ...]:
    """List all students in spec order, replicas expanded and training settings merged."""
    entries = [(student, name) for student in spec.students for name in replica_names(student)]
    resolved = []
    for index, (student, name) in enumerate(entries):
        training = resolve_training(spec, student)
        seed = student_seed(training.seed, name)
        resolved.append(
            ResolvedStudent(name, index, student.model, training, student.gpus, seed, tuple(student.command))
        )
    return tuple(resolved)


def student_seed(seed: int, name: str) -> int:
    """Give each student its own stream of random choices: a function of the group's seed and its name alone."""
    return crc32(f"{seed}/{name}".encode())


def planned_epochs(method: Method) -> int:
    """Count all epochs of a full run: burn-in + cycles x (T_in + T_d)."""
    return method.burn_in_epochs + method.cycles * (method.independent_epochs + method.distill_epochs)
