"""Where students are, as startup/chaos_places.py writes it; and moments in a run at which something shall happen."""

import json
from dataclasses import dataclass
from pathlib import Path

from processes import lives

STAGES = ("Starting", "Independent", "Labeling", "Uploading", "Waiting", "Fetching", "Distilling", "Publishing")
"""A cycle's phases in order; the others come between any two of them."""
PHASES = (*STAGES[:2], "Evaluating", "Checkpointing", *STAGES[2:])


@dataclass(frozen=True, slots=True)
class Place:
    """A student's attempt and how far it is."""

    pid: int
    attempt: int
    phase: str
    cycle: int
    epoch: float
    step: int


class Places:
    """The newest places of all students of a run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def of(self, student: str) -> Place | None:
        """Read one, which may be a dead student's last; None before its first start."""
        try:
            return Place(**json.loads((self.folder / student).read_bytes()))
        except (FileNotFoundError, ValueError):  # caught in the middle of a word: the next look will be better
            return None


@dataclass(frozen=True, slots=True, order=True)
class Moment:
    """When something happens: a student enters a phase of a cycle, or has passed it, and then so many seconds later."""

    cycle: int
    phase: str
    student: str
    delay_seconds: float

    def is_reached(self, place: Place | None) -> bool:
        """Say whether the student is there, or further."""
        if place is None or place.phase == "Starting" or not lives(place.pid):
            return False
        if place.cycle != self.cycle:
            return place.cycle > self.cycle
        return place.phase == self.phase or rank(place.phase) > rank(self.phase)

    @property
    def order(self) -> tuple[int, int]:
        """What comes first in a run."""
        return self.cycle, rank(self.phase)

    def __str__(self) -> str:
        return f"{self.student} in {self.phase} of cycle {self.cycle} + {self.delay_seconds:.2f} s"


def rank(phase: str) -> int:
    """Place a phase within its cycle; what can come anywhere counts as its beginning."""
    return STAGES.index(phase) if phase in STAGES else 1
