"""What came of submitting a job; light to import."""

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """What came of submitting a job."""

    CREATED = "Created"
    CHANGED = "Changed"
    """It was there with another spec, and could still be changed."""
    UNCHANGED = "Unchanged"


@dataclass(frozen=True, slots=True)
class Submission:
    """A job that is in the cluster now, and what came of submitting it."""

    name: str
    namespace: str
    uid: str
    outcome: Outcome
    changed: tuple[str, ...] = ()
    """Paths of the fields that are not as they were."""
