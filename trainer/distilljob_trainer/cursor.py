"""Where a student stands in its run, and what comes next."""

from dataclasses import dataclass
from enum import StrEnum

from distilljob_core.spec.method import Method


class Stage(StrEnum):
    """The parts of a cycle, in order, and the end of all cycles."""

    INDEPENDENT = "Independent"
    EXCHANGE = "Exchange"
    DISTILL = "Distill"
    DONE = "Done"


@dataclass(frozen=True, slots=True)
class Plan:
    """The length of every stage. Independent walks the same stages, but never has a teacher."""

    cycles: int
    independent_epochs: int
    distill_epochs: int
    burn_in_epochs: int
    exchanges: bool

    @classmethod
    def of(cls, method: Method) -> "Plan":
        """Read it from the resource."""
        return cls(
            method.cycles,
            method.independent_epochs,
            method.distill_epochs,
            method.burn_in_epochs,
            exchanges=method.name != "Independent",
        )


@dataclass(slots=True)
class Cursor:
    """The next thing a student will do. Cycles count from 1, all else from 0."""

    cycle: int = 1
    stage: Stage = Stage.INDEPENDENT
    stage_epoch: int = 0
    """Finished epochs of this stage: a in T_in, r in T_d."""
    step: int = 0
    """Finished steps of this epoch."""
    epochs: int = 0
    """Finished epochs since the very first start."""
    steps: int = 0
    """Optimizer steps since the very first start."""
    last: bool = False
    """No further cycle follows this one."""

    def stage_epochs(self, plan: Plan) -> int:
        """Count the epochs of the present stage."""
        if self.stage is Stage.DISTILL:
            return plan.distill_epochs
        burn_in = plan.burn_in_epochs if self.cycle == 1 else 0
        return burn_in + plan.independent_epochs

    def finish_step(self) -> None:
        """Count one optimizer step."""
        self.step += 1
        self.steps += 1

    def finish_epoch(self) -> None:
        """Count one epoch."""
        self.step = 0
        self.stage_epoch += 1
        self.epochs += 1

    def finish_stage(self, plan: Plan) -> None:
        """Move on to the stage that follows."""
        self.stage_epoch = 0
        if self.stage is Stage.INDEPENDENT:
            self.stage = Stage.EXCHANGE if plan.exchanges else Stage.DISTILL
            self.last = not plan.exchanges and self.cycle == plan.cycles
        elif self.stage is Stage.EXCHANGE:
            self.stage = Stage.DISTILL
        elif self.last:
            self.stage = Stage.DONE
        else:
            self.cycle += 1
            self.stage = Stage.INDEPENDENT
