"""The training cycle of Gao et al. 2019, Entropy 21(4):357, Algorithm 1, and nothing else.

`train` is a generator. Whoever iterates it tests, saves, logs and carries soft labels; the algorithm only learns.

Shapes: B batch, K classes, N training samples.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim.swa_utils import AveragedModel

from distilljob_core.exchange import CloseRecord
from distilljob_core.spec.method import Divergence, Ramp
from distilljob_trainer.cursor import Cursor, Plan, Stage
from distilljob_trainer.data.counters import Stream, permutation, seed_generators, stream_key
from distilljob_trainer.data.split import Inputs, num_batches
from distilljob_trainer.losses import cross_entropy, kl_divergence
from distilljob_trainer.schedule import INDEPENDENT, LearningRate, LossWeights, loss_weights

MakeBatches = Callable[..., Iterator[tuple[Inputs, Tensor]]]
"""`Data.training_batches`: ids of every batch, cycle, epoch and seed -> augmented inputs and labels of every batch."""


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """Everything that shapes the descent and can be told before it."""

    plan: Plan
    batch_size: int
    learning_rate: LearningRate
    temperature: float
    ramp: Ramp
    kl: Divergence
    label_smoothing: float
    clip_norm: float | None

    def loss_weights(self, cursor: Cursor, steps_per_epoch: int) -> LossWeights:
        """Give alpha and beta of the step that the cursor stands at."""
        return loss_weights(
            self.ramp,
            epoch=cursor.stage_epoch,
            step=cursor.step,
            steps_per_epoch=steps_per_epoch,
            distill_epochs=self.plan.distill_epochs,
        )

    def divergence(self, z_BK: Tensor, p_BK: Tensor) -> Tensor:
        """Give the distance between the teacher and the logits."""
        return kl_divergence(
            z_BK,
            p_BK,
            self.temperature,
            direction=self.kl.direction,
            temperature_squared=self.kl.temperature_squared,
        )


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a closed round teaches: its record, and the ensemble's soft labels of every sample."""

    record: CloseRecord
    p_NK: Tensor
    """Float32, rows summing to 1."""


@dataclass(slots=True)
class Student:
    """One network and everything of it that a step changes."""

    name: str
    seed: int
    model: nn.Module
    optimizer: torch.optim.Optimizer
    autocast: Callable[[], AbstractContextManager[object]]
    sums: Tensor
    """Of this epoch's samples so far, float64 [4] on the model's device: L, L_C, L_KL, number."""
    average: AveragedModel | None = None
    """Moving average of the weights after every step: v <- d v + (1 - d) theta; v = theta after the first.

    Buffers are copied, not averaged: BatchNorm's statistics are moving averages already, and counters have no mean.
    """
    cursor: Cursor = field(default_factory=Cursor)

    @property
    def answering(self) -> nn.Module:
        """The network that is evaluated, makes soft labels, is selected and exported; `model` trains."""
        return self.model if self.average is None else self.average.module

    def count(self, loss: Tensor, label: Tensor, distill: Tensor | None, num_samples: int) -> None:
        """Add one batch to the sums of this epoch, without waiting for the GPU."""
        terms = torch.stack((loss, label, torch.zeros_like(label) if distill is None else distill)).detach()
        self.sums[:3] += terms * num_samples
        self.sums[3] += num_samples


@dataclass(frozen=True, slots=True)
class StepDone:
    """One optimizer step. Tensors stay on their device: reading one waits for the GPU."""

    num_samples: int
    loss: Tensor
    label: Tensor
    distill: Tensor | None
    weights: LossWeights
    learning_rate: float
    gradient_norm: Tensor | None
    """Before clipping; None without clipping."""


@dataclass(frozen=True, slots=True)
class EpochDone:
    """One epoch: time for "Testing"."""


@dataclass(frozen=True, slots=True)
class ExchangeDue:
    """Soft labels are due; the answer to this event must be the round's lesson."""


@dataclass(frozen=True, slots=True)
class StageDone:
    """One stage; the cursor stands at the beginning of the next."""


Event = StepDone | EpochDone | ExchangeDue | StageDone


def train(
    student: Student, fit_ids_N: Tensor, make_batches: MakeBatches, hp: Hyperparameters, lesson: Lesson | None = None
) -> Generator[Event, Lesson | None, None]:
    """Train one student from wherever its cursor stands to its end.

    Args:
        student: changed in place.
        fit_ids_N: ids of the samples that gradient steps may see.
        make_batches: makes their batches.
        hp: the same for all attempts.
        lesson: the present cycle's, when the cursor already stands behind its exchange.
    """
    cursor = student.cursor
    while cursor.stage is not Stage.DONE:
        if cursor.stage is Stage.EXCHANGE:
            lesson = yield ExchangeDue()
            assert lesson is not None, "an ExchangeDue is answered with a lesson"
            cursor.last = lesson.record.last
        else:
            teacher_NK = lesson.p_NK if lesson is not None and cursor.stage is Stage.DISTILL else None
            while cursor.stage_epoch < cursor.stage_epochs(hp.plan):
                yield from _epoch(student, fit_ids_N, make_batches, hp, teacher_NK)
                yield EpochDone()
                cursor.finish_epoch()
                student.sums.zero_()
        cursor.finish_stage(hp.plan)
        yield StageDone()


def _epoch(
    student: Student, fit_ids_N: Tensor, make_batches: MakeBatches, hp: Hyperparameters, teacher_NK: Tensor | None
) -> Iterator[StepDone]:
    cursor = student.cursor
    order_N = fit_ids_N[permutation(len(fit_ids_N), seed=student.seed, epoch=cursor.epochs)]
    steps_per_epoch = num_batches(len(order_N), hp.batch_size)
    ids = order_N.split(hp.batch_size)[cursor.step : steps_per_epoch]
    batches = make_batches(ids, cycle=cursor.cycle, epoch=cursor.epochs, seed=student.seed)
    student.model.train()
    for ids_B, (x, y_B) in zip(ids, batches, strict=True):
        p_BK = None if teacher_NK is None else teacher_NK[ids_B.to(teacher_NK.device, non_blocking=True)]
        weights = INDEPENDENT if p_BK is None else hp.loss_weights(cursor, steps_per_epoch)
        rate = hp.learning_rate.at(epoch=cursor.epochs, step=cursor.step, steps_per_epoch=steps_per_epoch)
        done = _step(student, hp, x, y_B, p_BK, weights, rate)
        cursor.finish_step()
        yield done


def _step(
    student: Student,
    hp: Hyperparameters,
    x: Inputs,
    y_B: Tensor,
    p_BK: Tensor | None,
    weights: LossWeights,
    learning_rate: float,
) -> StepDone:
    """Descend once along the gradient of L = alpha L_C + beta L_KL (equations 10 to 12)."""
    seed_generators(stream_key(Stream.STEP, student.seed, student.cursor.steps))  # for dropout: no RNG state is saved
    with student.autocast():
        z_BK = student.model(x)  # g = F(theta_i, x)
    loss = label = cross_entropy(z_BK, y_B, hp.label_smoothing)  # L_C
    distill = None
    if p_BK is not None:
        distill = hp.divergence(z_BK, p_BK)  # L_KL(S_e, s_i)
        loss = weights.alpha * label + weights.beta * distill  # L
    student.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = None if hp.clip_norm is None else clip_grad_norm_(student.model.parameters(), hp.clip_norm)
    for group in student.optimizer.param_groups:
        group["lr"] = learning_rate
    student.optimizer.step()
    if student.average is not None:
        student.average.update_parameters(student.model)
    student.count(loss, label, distill, len(y_B))
    distill = None if distill is None else distill.detach()
    return StepDone(len(y_B), loss.detach(), label.detach(), distill, weights, learning_rate, norm)
