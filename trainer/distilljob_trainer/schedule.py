"""What changes over a run as plain functions of its position: the ramp of the two loss terms, the learning rate."""

import math
from dataclasses import dataclass
from typing import Literal

from distilljob_core.spec.method import Ramp
from distilljob_core.spec.training import Schedule


@dataclass(frozen=True, slots=True)
class LossWeights:
    """The factors of L = alpha CE + beta KL."""

    alpha: float
    beta: float


INDEPENDENT = LossWeights(alpha=1.0, beta=0.0)


def loss_weights(ramp: Ramp, *, epoch: int, step: int, steps_per_epoch: int, distill_epochs: int) -> LossWeights:
    """Give the weights of one step of a distillation phase.

    alpha = 1 - r / T_d, beta = 1 + r / T_d        equation 11; kind Linear

    Cosine: alpha = (1 + cos(pi r / T_d)) / 2, beta = 2 - alpha. FixedMatched: the mean of the line over the phase.
    Fixed: as the ramp says. r is the epoch, or (unit Step) where the middle of the step lies in epochs.

    Args:
        ramp: kind and unit.
        epoch: 0 to T_d - 1, within the phase.
        step: 0 to steps_per_epoch - 1, within the epoch.
        steps_per_epoch: steps of one epoch.
        distill_epochs: T_d.
    """
    if ramp.kind == "Fixed":
        assert ramp.alpha is not None, "validated: a Fixed ramp has alpha"
        assert ramp.beta is not None, "validated: a Fixed ramp has beta"
        return LossWeights(ramp.alpha, ramp.beta)
    by_epoch = ramp.unit == "Epoch"
    if ramp.kind == "FixedMatched":
        r = (distill_epochs - 1) / 2 if by_epoch else distill_epochs / 2
    else:
        r = epoch if by_epoch else epoch + (step + 0.5) / steps_per_epoch
    share = r / distill_epochs
    alpha = (1 + math.cos(math.pi * share)) / 2 if ramp.kind == "Cosine" else 1 - share
    return LossWeights(alpha, 2 - alpha)


@dataclass(frozen=True, slots=True)
class LearningRate:
    """The learning rate of every step, in absolute epochs: fixed at the first start and kept by later attempts."""

    base: float
    kind: Literal["MultiStep", "Cosine", "Constant"]
    planned_epochs: int
    milestone_epochs: tuple[int, ...]
    gamma: float
    warmup_epochs: int

    @classmethod
    def plan(cls, schedule: Schedule, *, base: float, planned_epochs: int) -> "LearningRate":
        """Turn milestones from fractions of all planned epochs into epochs."""
        milestones = tuple(sorted(round(fraction * planned_epochs) for fraction in schedule.milestones))
        return cls(base, schedule.kind, planned_epochs, milestones, schedule.gamma, schedule.warmup_epochs)

    def at(self, *, epoch: int, step: int, steps_per_epoch: int) -> float:
        """Give the rate of a step; the epoch counts from the very first start.

        Warm-up: base (n + 1) / (steps of the warm-up) at step n, then the schedule. Cosine runs from the end of the
        warm-up to the end of all planned epochs.
        """
        position = epoch + step / steps_per_epoch
        if position < self.warmup_epochs:
            return self.base * (position + 1 / steps_per_epoch) / self.warmup_epochs
        if self.kind == "MultiStep":
            passed = sum(epoch >= milestone for milestone in self.milestone_epochs)
            return self.base * self.gamma**passed
        if self.kind == "Cosine":
            share = (position - self.warmup_epochs) / (self.planned_epochs - self.warmup_epochs)
            return self.base * (1 + math.cos(math.pi * min(share, 1.0))) / 2
        return self.base
