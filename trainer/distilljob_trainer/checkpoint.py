"""Exact resume: everything that a later attempt needs, in files that survive a crash at any moment.

The newest two checkpoints are kept; a damaged one is passed over. No state of a random number generator is saved,
because all of them are seeded before every step.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import structlog
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from distilljob_core.errors import Mismatch
from distilljob_core.results import Artifact, CycleOutcome
from distilljob_trainer import sealed
from distilljob_trainer.cursor import Cursor
from distilljob_trainer.numerics import Numerics
from distilljob_trainer.schedule import LearningRate
from distilljob_trainer.selection import Selection

KEPT: Final = 2
_PATTERN: Final = "checkpoint-*.json"

log = structlog.get_logger()

Groups = dict[str, dict[str, Tensor]]
"""Tensors by group (model, optimizer, ...) and name."""


class State(BaseModel):
    """What is no tensor: where the student stands, and what it has measured so far."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    job_uid: str
    student: str
    saves: int
    """Number of this checkpoint, from 1."""
    cursor: Cursor
    learning_rate: LearningRate
    numerics: Numerics
    inexact_reasons: tuple[str, ...] = ()
    selection: Selection
    cycles: tuple[CycleOutcome, ...] = ()
    closed_seen: int = 0
    """Newest cycle whose close record this student has seen; 0 = none."""
    journal_bytes: int = 0
    """Length of metrics.jsonl; what lies behind it will be written again."""
    seconds: dict[str, float] = {}
    """Spent by phase, over all attempts."""
    stage_began: dict[str, float] = {}
    """`seconds` when the present stage began."""
    artifacts: tuple[Artifact, ...] = ()
    """What was published; empty before."""


class Checkpoints:
    """The checkpoints of one student in one directory, which this process must hold alone."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def save(self, state: State, groups: Groups) -> int:
        """Write one checkpoint and remove all but the newest two; gives its size in bytes.

        Raises:
            StorageFull: no space left; the checkpoints that were there are intact.
        """
        flat = {f"{group}/{name}": tensor for group, named in groups.items() for name, tensor in named.items()}
        path = self._directory / _PATTERN.replace("*", f"{state.saves:08}")
        num_bytes = sealed.write(path, state.model_dump(mode="json"), flat)
        for old in self._paths()[KEPT:]:
            sealed.remove(old)
        return num_bytes

    def newest(self) -> tuple[State, Groups] | None:
        """Read the newest checkpoint that is whole; None when there is none.

        Raises:
            Mismatch: it is whole, but of another version of this program.
        """
        for path in self._paths():
            try:
                body, flat = sealed.read(path)
                return State.model_validate(body), _grouped(flat)
            except sealed.Damaged as error:
                log.warning("a damaged checkpoint is passed over", path=str(path), error=str(error))
            except ValidationError as error:
                raise Mismatch(f"{path} was written by another version of distilljob; go on with that one") from error
        return None

    def _paths(self) -> list[Path]:
        return sorted(self._directory.glob(_PATTERN), reverse=True)


def check_owner(state: State, job_uid: str, student: str) -> None:
    """Refuse the checkpoint of another job or student.

    Raises:
        Mismatch: it is one.
    """
    if (state.job_uid, state.student) != (job_uid, student):
        raise Mismatch(
            f"the checkpoint belongs to student {state.student} of job {state.job_uid}, not to {student} of {job_uid}; "
            "use an empty checkpoint directory"
        )


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Name the optimizer's state `<parameter>.<key>`; its settings are the resource's, its rate the schedule's."""
    state: dict[int, dict[str, Any]] = optimizer.state_dict()["state"]
    return {
        f"{parameter}.{key}": value
        for parameter, entries in state.items()
        for key, value in entries.items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put the optimizer's state back, in the memory format of its parameters."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, key = name.partition(".")
        parameter = parameters[int(index)]
        shaped = torch.empty_like(parameter).copy_(tensor) if tensor.shape == parameter.shape else tensor
        state.setdefault(int(index), {})[key] = shaped
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _grouped(flat: Mapping[str, Tensor]) -> Groups:
    groups: Groups = {}
    for name, tensor in flat.items():
        group, _, rest = name.partition("/")
        groups.setdefault(group, {})[rest] = tensor
    return groups
