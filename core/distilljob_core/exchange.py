"""The words of the exchange: what students and aggregator tell each other, free of any wire format."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Literal, Self

from distilljob_core.phases import StudentPhase
from distilljob_core.softlabels.frames import Split

SPLIT_NAMES: Final[dict[Split, Literal["train", "evaluation"]]] = {Split.TRAIN: "train", Split.EVALUATION: "evaluation"}


@dataclass(frozen=True, slots=True, order=True)
class RoundKey:
    """One collection of soft labels: a cycle's training set, or the evaluation set after the last cycle."""

    cycle: int
    split: Split = Split.TRAIN

    def __str__(self) -> str:
        return f"cycle {self.cycle}, {SPLIT_NAMES[self.split]}"


@dataclass(frozen=True, slots=True)
class SplitShape:
    """Size of one split; equal fingerprints mean equal rows in equal order."""

    num_rows: int
    num_classes: int
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Identity:
    """One attempt of one student; the aggregator fences by it."""

    job_uid: str
    student: str
    attempt: int
    pod_uid: str


@dataclass(frozen=True, slots=True)
class Joined:
    """The aggregator's plan."""

    token: int
    open: RoundKey | None
    """None once the evaluation round is closed."""
    heartbeat_interval_seconds: float
    students: tuple[str, ...]
    cycles: int
    codec: str
    temperature: float


class Directive(Enum):
    """What a student is told to do next."""

    GO_ON = 0
    PARK = 1
    """Save, exit with code 75, and come back when started again."""


@dataclass(frozen=True, slots=True)
class Report:
    """Where a student is; `progress` must grow with every sign of progress."""

    phase: StudentPhase
    cycle: int = 0
    epoch: float = 0.0
    planned_epochs: int = 0
    step: int = 0
    progress: int = 0
    samples_per_second: float = 0.0
    loss: float | None = None
    accuracy: dict[str, float] = field(default_factory=dict)
    teacher_gain: float | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """Soft labels that a student has for one round.

    The source digest is one of the weights that make these labels and of the numeric identity: the same digest
    means the same bytes, so that a broken upload goes on where it was.
    """

    round: RoundKey
    weight: int
    num_correct: int
    """Right answers on the hold-out."""
    holdout_size: int
    codec: str
    source_digest: str
    cross_entropy: float
    """Mean cross-entropy of these soft labels against the true ones."""


@dataclass(frozen=True, slots=True)
class Contribution:
    """One student's part in a closed round."""

    student: str
    weight: int
    num_correct: int
    holdout_size: int
    source_digest: str
    cross_entropy: float

    @classmethod
    def of(cls, student: str, offer: Offer) -> Self:
        """Take over what the student offered."""
        return cls(
            student, offer.weight, offer.num_correct, offer.holdout_size, offer.source_digest, offer.cross_entropy
        )


@dataclass(frozen=True, slots=True)
class CloseRecord:
    """What was decided about a round, once and for all."""

    round: RoundKey
    contributions: tuple[Contribution, ...]
    weight_sum: int
    """Sum of the weights used."""
    uniform_fallback: bool
    """All weights were 0, so each counted as 1."""
    codec: str
    last: bool
    """No further training cycle follows this one. The only place that says so."""
    missing: tuple[str, ...]

    def weights_used(self) -> tuple[int, ...]:
        """The integer weights of the sum, in the order of the contributions."""
        return tuple(1 if self.uniform_fallback else part.weight for part in self.contributions)


@dataclass(frozen=True, slots=True)
class NeedRows:
    """The aggregator lacks rows of this student, from this one on."""

    next_row: int


@dataclass(frozen=True, slots=True)
class NotYet:
    """The round is still open, or its teacher not yet stored."""

    missing: tuple[str, ...]
