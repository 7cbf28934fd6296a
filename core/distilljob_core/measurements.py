"""The lines of metrics.jsonl: what a student measured while it trained. The trainer writes them, reports read them."""

import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, TypeAdapter, ValidationError

from distilljob_core.results import CycleOutcome, EnsembleOutcome, Ratio, Record


class Measured(Record):
    """What every line has."""

    timestamp_seconds: float
    """When it was written, on the student's wall clock, since 1970."""


class EpochMeasured(Measured):
    """One epoch. Losses are means over its training samples, in nats; accuracies are those of the exported weights."""

    kind: Literal["epoch"] = "epoch"
    cycle: int
    """From 1."""
    stage: Literal["Independent", "Distill"]
    epoch: int
    """From 1, over all cycles."""
    step: int
    """Optimizer steps so far."""
    learning_rate: float
    """Of its last step."""
    loss: float
    """L = alpha L_C + beta L_KL."""
    cross_entropy: float
    """L_C."""
    divergence: float
    """L_KL; 0 without a teacher."""
    holdout_accuracy: Ratio
    test_accuracy: Ratio
    test_cross_entropy: float


class ExchangeMeasured(Measured):
    """One round, as this student went through it."""

    kind: Literal["exchange"] = "exchange"
    cycle: int
    """The last one's for the evaluation round."""
    split: Literal["train", "evaluation"]
    """Soft labels of the training set, or predictions of the test set after the last cycle."""
    seconds: dict[str, float]
    """By phase; Waiting is the barrier."""


class CycleMeasured(CycleOutcome, Measured):
    """What one closed cycle's teacher was worth."""

    kind: Literal["cycle"] = "cycle"
    missing: list[str]
    """Students that the round was closed without."""
    last: bool
    """No cycle follows."""


class LogitsMeasured(Measured):
    """How far a network's logits reach on the hold-out when it labels a cycle (the argument of the paper's table 4)."""

    kind: Literal["logits"] = "logits"
    cycle: int
    smallest: float
    """Of all samples and classes."""
    largest: float
    mean_range: float
    """Mean over the samples of the largest minus the smallest logit."""


class SoftLabelMeasured(Measured):
    """One sample through the eyes of a student and of its teacher (the paper's figure 2).

    The sample is the hold-out's that this cycle's teacher is least sure of: the same one for every student.
    """

    kind: Literal["soft_label"] = "soft_label"
    cycle: int
    sample: int
    """Id in the training set."""
    label: int
    """Its class."""
    temperature: float
    student_sharp: list[Ratio]
    """softmax(g), by class."""
    student_soft: list[Ratio]
    """softmax(g / t)."""
    teacher_soft: list[Ratio]
    """What the teacher says of it, at the same temperature."""


class ReliabilityBin(Record):
    """Test samples whose highest probability fell into one of 15 equal bins."""

    count: int
    confidence: Ratio
    """Their mean highest probability; 0 when there are none."""
    accuracy: Ratio
    """Share of them that was right; 0 when there are none."""


class ReliabilityMeasured(Measured):
    """Calibration on the test set at the end, by bin of confidence (Guo et al. 2017, arXiv:1706.04599)."""

    kind: Literal["reliability"] = "reliability"
    predictor: Literal["student", "ensemble"]
    bins: list[ReliabilityBin]


class EnsembleMeasured(EnsembleOutcome, Measured):
    """The ensemble of the last round on the test set."""

    kind: Literal["ensemble"] = "ensemble"


Measurement = Annotated[
    EpochMeasured
    | ExchangeMeasured
    | CycleMeasured
    | LogitsMeasured
    | SoftLabelMeasured
    | ReliabilityMeasured
    | EnsembleMeasured,
    Field(discriminator="kind"),
]

_MEASUREMENT: TypeAdapter[Measurement] = TypeAdapter(Measurement)


def measurements_schema() -> dict[str, Any]:
    """Give the JSON schema of a line."""
    return _MEASUREMENT.json_schema(by_alias=False)


class Unreadable(NamedTuple):
    """A line that is left out: damaged, or of a kind or with fields that this version does not know."""

    line: int
    """From 1."""
    reason: str


class Measurements(NamedTuple):
    """What could be read of one student's file, in its order, and what could not."""

    known: list[Measurement]
    unreadable: list[Unreadable]


class MergedMeasurements(NamedTuple):
    """The same of a run's merged file, by student in the file's order."""

    known: dict[str, list[Measurement]]
    unreadable: list[Unreadable]


def read_measurements(content: bytes) -> Measurements:
    """Read one student's metrics.jsonl. A last line without an end is still being written and is passed over."""
    read = Measurements([], [])
    for number, text in _whole_lines(content):
        try:
            read.known.append(_MEASUREMENT.validate_json(text))
        except ValidationError as error:
            read.unreadable.append(Unreadable(number, _reason(error)))
    return read


def read_merged_measurements(content: bytes) -> MergedMeasurements:
    """Read a run's metrics.jsonl, whose lines also say `student`: whose they are."""
    read = MergedMeasurements({}, [])
    for number, text in _whole_lines(content):
        try:
            student, line = _owned(json.loads(text))
            read.known.setdefault(student, []).append(_MEASUREMENT.validate_python(line))
        except ValidationError as error:
            read.unreadable.append(Unreadable(number, _reason(error)))
        except ValueError as error:
            read.unreadable.append(Unreadable(number, str(error)))
    return read


def _whole_lines(content: bytes) -> Iterator[tuple[int, bytes]]:
    whole, _, _ = content.rpartition(b"\n")
    return enumerate(whole.split(b"\n"), start=1) if whole else iter(())


def _owned(record: object) -> tuple[str, dict[str, object]]:
    if not isinstance(record, dict) or not isinstance(record.get("student"), str):
        raise ValueError("names no student")
    return record["student"], {key: value for key, value in record.items() if key != "student"}


def _reason(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]
