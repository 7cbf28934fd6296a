"""What a student can be doing; one word for status, metrics and the wire."""

from enum import StrEnum
from typing import Final


class StudentPhase(StrEnum):
    """The same names as in `status.students[].phase`, `distilljob_student_phase` and the protocol's Phase."""

    STARTING = "Starting"
    INDEPENDENT = "Independent"
    DISTILLING = "Distilling"
    EVALUATING = "Evaluating"
    LABELING = "Labeling"
    UPLOADING = "Uploading"
    WAITING = "Waiting"
    FETCHING = "Fetching"
    PUBLISHING = "Publishing"
    CHECKPOINTING = "Checkpointing"
    PARKED = "Parked"
    NEEDS_ROWS = "NeedsRows"
    FINISHED = "Finished"
    DROPPED = "Dropped"


TRAINING_PHASES: Final = frozenset({StudentPhase.INDEPENDENT, StudentPhase.DISTILLING})
EXCHANGE_PHASES: Final = frozenset(
    {StudentPhase.UPLOADING, StudentPhase.WAITING, StudentPhase.FETCHING, StudentPhase.PUBLISHING}
)
UNLIMITED_PHASES: Final = frozenset(
    {StudentPhase.PARKED, StudentPhase.NEEDS_ROWS, StudentPhase.FINISHED, StudentPhase.DROPPED}
)
