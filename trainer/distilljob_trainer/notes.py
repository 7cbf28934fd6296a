"""What a run is to do and what it knows so far, and how both get into a checkpoint and out of it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

from torch import Tensor, nn

from distilljob_core.errors import Diverged
from distilljob_core.results import Artifact, CycleOutcome
from distilljob_trainer.algorithm import Hyperparameters, Student
from distilljob_trainer.checkpoint import Groups, State, optimizer_tensors, restore_optimizer
from distilljob_trainer.data.split import Data
from distilljob_trainer.labels import Exchange
from distilljob_trainer.numerics import Numerics
from distilljob_trainer.selection import Selection


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be done, the same in every attempt."""

    job_uid: str
    data: Data
    hp: Hyperparameters
    rules: Exchange
    checkpoint_interval_seconds: float


@dataclass(slots=True)
class Notes:
    """What is known so far; goes into every checkpoint."""

    numerics: Numerics
    inexact_reasons: tuple[str, ...] = ()
    selection: Selection = field(default_factory=Selection)
    selected_weights: dict[str, Tensor] = field(default_factory=dict)
    cycles: tuple[CycleOutcome, ...] = ()
    closed_seen: int = 0
    artifacts: tuple[Artifact, ...] = ()
    saves: int = 0
    journal_bytes: int = 0
    """Length of metrics.jsonl at the last checkpoint."""
    seconds: dict[str, float] = field(default_factory=dict)
    """By phase, up to the last checkpoint."""
    stage_began: dict[str, float] = field(default_factory=dict)
    """The same when the present stage began."""

    @classmethod
    def of(cls, state: State, groups: Groups) -> Self:
        """Take them from a checkpoint."""
        return cls(
            numerics=state.numerics,
            inexact_reasons=state.inexact_reasons,
            selection=state.selection,
            selected_weights=groups.get("selected", {}),
            cycles=state.cycles,
            closed_seen=state.closed_seen,
            artifacts=state.artifacts,
            saves=state.saves,
            journal_bytes=state.journal_bytes,
            seconds=state.seconds,
            stage_began=state.stage_began,
        )

    def state(self, task: Task, student: Student) -> State:
        """Give all that is no tensor."""
        return State(
            job_uid=task.job_uid,
            student=student.name,
            saves=self.saves,
            cursor=replace(student.cursor),
            learning_rate=task.hp.learning_rate,
            numerics=self.numerics,
            inexact_reasons=self.inexact_reasons,
            selection=self.selection,
            cycles=self.cycles,
            closed_seen=self.closed_seen,
            journal_bytes=self.journal_bytes,
            seconds=self.seconds,
            stage_began=self.stage_began,
            artifacts=self.artifacts,
        )


def tensors_of(student: Student, notes: Notes) -> Groups:
    """Give all tensors of a checkpoint."""
    return {
        "model": _whole_state(student.model),
        "average": {} if student.average is None else _whole_state(student.average),
        "optimizer": optimizer_tensors(student.optimizer),
        "epoch": {"sums": student.sums},
        "selected": notes.selected_weights,
    }


def restore(student: Student, state: State, groups: Groups) -> None:
    """Put a student back where a checkpoint has it."""
    _load_whole_state(student.model, groups["model"])
    if student.average is not None:
        _load_whole_state(student.average, groups["average"])
    restore_optimizer(student.optimizer, groups.get("optimizer", {}))
    student.sums.copy_(groups["epoch"]["sums"])
    student.cursor = state.cursor


def _whole_state(model: nn.Module) -> dict[str, Tensor]:
    """Give weights and all buffers, those too that `state_dict` leaves out (`persistent=False`): steps change them."""
    return {**dict(model.named_buffers()), **model.state_dict()}


def _load_whole_state(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    persistent = model.state_dict().keys()
    model.load_state_dict({name: tensor for name, tensor in tensors.items() if name in persistent})
    for name, buffer in model.named_buffers():
        if name not in persistent:
            buffer.copy_(tensors[name])


def copied(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copy weights to where nothing changes them."""
    return {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}


def check_finite(losses: Tensor, student: Student, learning_rate: float, when: str) -> None:
    """Stop a student whose loss is no number any more: an exact resume would diverge exactly.

    Raises:
        Diverged: one of the losses is not finite.
    """
    for value in losses.reshape(-1).tolist():
        if not math.isfinite(value):
            raise Diverged(
                f"student {student.name}: loss is {'NaN' if math.isnan(value) else 'infinite'} {when} step "
                f"{student.cursor.steps}; lower training.optimizer.learningRate ({learning_rate:g}) or set clipNorm"
            )
