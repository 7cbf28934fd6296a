"""What a run leaves behind, as data: a student's own summary, and result.json made of all of them."""

from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Ratio = Annotated[float, Field(ge=0, le=1)]


class Record(BaseModel):
    """One block of a result: camelCase outside, frozen, every number finite."""

    model_config = ConfigDict(
        frozen=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


class TestAccuracy(Record):
    """Test accuracy of one student; the headline is `last`."""

    __test__ = False  # pytest takes classes named Test... for tests

    last: Ratio
    """After the last epoch."""
    selected: Ratio
    """At the epoch with the best hold-out accuracy."""
    optimistic: Ratio
    """At the epoch that was best on the test set itself; comparable with much of the literature, and too good."""
    independent: Ratio | None
    """At the end of the last T_in; None for a method without one."""


class HoldoutAccuracy(Record):
    """Hold-out accuracy of one student."""

    last: Ratio
    selected: Ratio


class CycleOutcome(Record):
    """What one closed cycle's teacher was worth, as one student measured it on the hold-out and the training set."""

    cycle: int
    """From 1."""
    weight: int
    """This student's in the mean; 0 where it was left out."""
    weight_sum: int
    """Of all students."""
    ensemble_accuracy: Ratio
    """Hold-out accuracy of the teacher."""
    best_accuracy: Ratio
    """Hold-out accuracy of the best contributing student."""
    teacher_gain: float
    """ensemble_accuracy - best_accuracy."""
    teacher_cross_entropy: float
    """Of the teacher's soft labels, on the hold-out, in nats."""
    mean_cross_entropy: float
    """Weighted mean over the students; never below the teacher's (equation 7), up to the codec's rounding."""


class Calibrated(Record):
    """Test-set quality of one predictor."""

    accuracy: Ratio
    nll: float
    """Mean negative log-likelihood in nats."""
    ece: Ratio
    """Expected calibration error, 15 bins of equal width."""


class EnsembleOutcome(Calibrated):
    """The weighted ensemble of the last round on the test set."""

    members: list[str]
    weights: list[int]
    disagreement: Ratio | None
    """Share of test samples on which this student and the ensemble name different classes."""


class Artifact(Record):
    """One published file."""

    name: str
    size_bytes: int
    sha256: str
    kind: Literal["last", "selected", "metrics", "config"]


class StudentSummary(Record):
    """A student's terminal record."""

    name: str
    model: str
    attempt: int
    num_parameters: int
    epochs: int
    steps: int
    test_samples: int | None = None
    """Size of the test set; None where a trainer does not say."""
    accuracy: TestAccuracy
    holdout: HoldoutAccuracy
    nll: float
    ece: Ratio
    seconds: dict[str, float]
    """Time by activity, over all attempts: the student phases, in seconds."""
    cycles: list[CycleOutcome]
    ensemble: EnsembleOutcome | None
    artifacts: list[Artifact]
    exact: bool
    inexact_reasons: list[str]
    environment: dict[str, str | int | bool]
    """Numeric identity and versions the run was made with."""


class StudentResult(StudentSummary):
    """One student in result.json."""

    restarts: int
    """Attempts that failed and were replaced; parking is none."""
    barrier_share: Ratio
    """Share of its time that this student waited for the others."""


class RunResult(Record):
    """result.json: everything that was measured, and nothing that was not."""

    name: str
    uid: str
    method: str
    cycles: int
    """Closed training cycles."""
    exact: bool
    """Every cycle was closed by all students and nothing had to continue under another numeric identity."""
    inexact_reasons: list[str]
    students: list[StudentResult]
    ensemble: EnsembleOutcome | None
    teacher_gain: list[float]
    """By cycle."""
    best: str
    """The student with the best final hold-out accuracy; ties by spec order."""
    seconds: float
    """From the aggregator's first start to the last Finish."""
    exchanged_bytes: dict[str, int]
    """Soft-label bytes by direction, up and down."""


def teacher_gains(summaries: Iterable[StudentSummary]) -> list[float]:
    """By cycle, from the first student that has it: all of them compare the same teacher with the same students."""
    gains: dict[int, float] = {}
    for summary in summaries:
        for outcome in summary.cycles:
            gains.setdefault(outcome.cycle, outcome.teacher_gain)
    return [gains[cycle] for cycle in sorted(gains)]


def best_student(summaries: list[StudentSummary]) -> str:
    """Name the student with the highest final hold-out accuracy; ties go to the first in spec order."""
    return max(summaries, key=lambda summary: summary.holdout.last).name
