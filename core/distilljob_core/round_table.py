"""What the aggregator shows of a run at /v1/status; read by runner, operator and command line."""

from typing import Literal

from distilljob_core.phases import StudentPhase
from distilljob_core.results import Record, StudentSummary


class RoundView(Record):
    """The open round."""

    cycle: int
    split: Literal["train", "evaluation"]
    open_seconds: float


class CloseView(Record):
    """A closed round."""

    cycle: int
    split: Literal["train", "evaluation"]
    contributors: list[str]
    weights: list[int]
    missing: list[str]
    last: bool


class StudentView(Record):
    """One row of the table; None where nothing has been heard yet."""

    name: str
    phase: StudentPhase
    attempt: int
    """Newest attempt that joined; 0 = none."""
    pod_uid: str
    ever_joined: bool
    cycle: int
    epoch: float
    planned_epochs: int
    step: int
    loss: float | None
    accuracy: dict[str, float]
    """By split: holdout, test."""
    teacher_gain: float | None
    samples_per_second: float
    rows_durable: int
    """Of the open round."""
    rows_total: int
    barrier_seconds: float
    last_heartbeat_timestamp_seconds: float
    """On the aggregator's clock; 0 = never."""
    last_progress_timestamp_seconds: float
    parked_attempt: int | None
    """The attempt that was told to park and may leave with code 75; None = none."""
    owes_rows: bool
    """The open round still lacks rows of this student."""
    behind: bool
    """A closed round's teacher has not been fetched by this student yet."""
    summary: StudentSummary | None
    """The terminal record: only this proves that a student is done."""


class RoundTable(Record):
    """The whole table."""

    job: str
    uid: str
    clock_timestamp_seconds: float
    """The aggregator's clock, against which all ages are taken."""
    started_timestamp_seconds: float
    """When this aggregator process started."""
    cycles: int
    """Planned training cycles."""
    open: RoundView | None
    """None once the evaluation round is closed."""
    closes: list[CloseView]
    students: list[StudentView]
    complete: bool
    """All terminal records are durable and result.json is written."""
    storage_full: Literal["Results", "State"] | None
