"""What a job will move, keep and compute, before it runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from distilljob_core.spec.job import DistillJobSpec
from distilljob_core.spec.resolve import ResolvedStudent, planned_epochs, resolve_students

CODE_BYTES: Final = {"Float16": 2, "Log8": 1}
ACCUMULATOR_BYTES: Final = 8
"""A float64 for each sample and class at the aggregator."""
FLOAT_BYTES: Final = 4
OPTIMIZER_COPIES: Final = {"SGD": 1, "AdamW": 2}
NUM_CHECKPOINTS: Final = 3
"""Two are kept, one is being written."""
NUM_LESSONS: Final = 3
"""Teachers of whole cycles, as float32; likewise."""
NUM_EXPORTS: Final = 2
"""The last weights and the selected ones."""
TENSOR_BYTES: Final = 256
"""Name and place of a tensor in a file."""
EPOCH_BYTES: Final = 512
"""What metrics.jsonl tells of an epoch; measured: 350."""
CYCLE_BYTES: Final = 1536
"""What it tells of a cycle, soft labels apart; measured: 780."""
SOFT_LABEL_BYTES: Final = 75
"""What it tells of one class of a cycle's example: three numbers; measured: 62."""
RECORDS_BYTES: Final = 16_384
"""What else there is of a student: JSON files, the run's result."""


@dataclass(frozen=True, slots=True)
class DataShape:
    """The sizes of a dataset that costs depend on."""

    train_samples: int
    fit_samples: int
    """Training samples that are not held out."""
    test_samples: int
    classes: int


@dataclass(frozen=True, slots=True)
class StudentSize:
    """The sizes of a student that costs depend on."""

    parameters: int
    """Numbers that training changes."""
    buffers: int
    """Numbers that the network keeps beside them, such as running means."""
    tensors: int
    """Named tensors that hold both."""
    epoch_steps: int


@dataclass(frozen=True, slots=True)
class StudentCost:
    """What one student computes and keeps."""

    name: str
    model: str
    parameters: int
    buffers: int
    steps_per_cycle: int
    steps: int
    checkpoint_bytes: int
    result_bytes: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a whole job costs; exchange sizes are exact up to 0.01 % of framing, storage is an upper figure."""

    cycles: int
    students: tuple[StudentCost, ...]
    upload_bytes: int
    """One student's soft labels of one exchange; the teacher that comes back has the same size."""
    cycle_bytes: int
    """All students, both directions, one cycle."""
    total_bytes: int
    """All cycles and the evaluation round."""
    aggregator_memory_bytes: int
    state_storage_bytes: int
    checkpoint_storage_bytes: int
    results_storage_bytes: int


def estimate(spec: DistillJobSpec, data: DataShape, sizes: Mapping[str, StudentSize]) -> Estimate:
    """Work out the costs of a checked job; sizes by student."""
    students = tuple(_student(spec, student, sizes[student.name], data) for student in resolve_students(spec))
    code_bytes = CODE_BYTES[spec.method.soft_labels.codec] * data.classes
    rounds = 0 if spec.method.name == "Independent" else spec.method.cycles
    upload = data.train_samples * code_bytes if rounds else 0
    evaluation = data.test_samples * code_bytes
    kept = rounds if spec.aggregator.teacher_history == "All" else min(rounds, spec.aggregator.teacher_history)
    return Estimate(
        cycles=spec.method.cycles,
        students=students,
        upload_bytes=upload,
        cycle_bytes=2 * len(students) * upload,
        total_bytes=2 * len(students) * (rounds * upload + evaluation),
        aggregator_memory_bytes=(upload or evaluation) * (ACCUMULATOR_BYTES * data.classes + code_bytes) // code_bytes,
        state_storage_bytes=len(students) * max(upload, evaluation) + kept * upload + evaluation,
        checkpoint_storage_bytes=sum(student.checkpoint_bytes for student in students),
        results_storage_bytes=sum(student.result_bytes for student in students),
    )


def _student(spec: DistillJobSpec, student: ResolvedStudent, size: StudentSize, data: DataShape) -> StudentCost:
    epochs = planned_epochs(spec.method)
    weights_bytes = FLOAT_BYTES * (size.parameters + size.buffers) + TENSOR_BYTES * size.tensors
    lesson_bytes = 0 if spec.method.name == "Independent" else FLOAT_BYTES * data.train_samples * data.classes
    metrics_bytes = EPOCH_BYTES * epochs + spec.method.cycles * (CYCLE_BYTES + SOFT_LABEL_BYTES * data.classes)
    result_bytes = NUM_EXPORTS * weights_bytes + metrics_bytes + RECORDS_BYTES
    # A checkpoint holds the weights, the selected ones and what the optimizer keeps of each.
    copies = 2 + OPTIMIZER_COPIES[student.training.optimizer.kind]
    return StudentCost(
        name=student.name,
        model=student.model.name,
        parameters=size.parameters,
        buffers=size.buffers,
        steps_per_cycle=size.epoch_steps * (spec.method.independent_epochs + spec.method.distill_epochs),
        steps=size.epoch_steps * epochs,
        checkpoint_bytes=NUM_CHECKPOINTS * copies * weights_bytes + NUM_LESSONS * lesson_bytes + result_bytes,
        result_bytes=result_bytes,
    )
