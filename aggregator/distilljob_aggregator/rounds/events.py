"""What happened in a job. Journaled events are durable before anybody hears of them; observed ones are seen again."""

from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter

from distilljob_core.exchange import CloseRecord, Offer, RoundKey, SplitShape
from distilljob_core.results import StudentSummary
from distilljob_core.softlabels.frames import Split


@dataclass(frozen=True, slots=True)
class Started:
    """The job's first record: whose journal this is, and since when."""

    uid: str
    at_seconds: float
    kind: Literal["Started"] = "Started"


@dataclass(frozen=True, slots=True)
class Admitted:
    """A new attempt got a token; the one before it is fenced for ever."""

    student: str
    attempt: int
    pod_uid: str
    token: int
    splits: dict[Split, SplitShape]
    kind: Literal["Admitted"] = "Admitted"


@dataclass(frozen=True, slots=True)
class Opened:
    """A student begins a round at row 0; what it brought before for this round is withdrawn."""

    student: str
    upload: int
    offer: Offer
    kind: Literal["Opened"] = "Opened"


@dataclass(frozen=True, slots=True)
class Closed:
    """A round is decided. Waiting times are each student's total so far."""

    record: CloseRecord
    barrier_seconds: dict[str, float]
    kind: Literal["Closed"] = "Closed"


@dataclass(frozen=True, slots=True)
class TeacherStored:
    """The teacher of a closed round is on disk; the next round may begin."""

    round: RoundKey
    kind: Literal["TeacherStored"] = "TeacherStored"


@dataclass(frozen=True, slots=True)
class TeacherForgotten:
    """The teacher of a round is no longer kept."""

    round: RoundKey
    kind: Literal["TeacherForgotten"] = "TeacherForgotten"


@dataclass(frozen=True, slots=True)
class Fetched:
    """A student was given the last row of a teacher."""

    student: str
    round: RoundKey
    kind: Literal["Fetched"] = "Fetched"


@dataclass(frozen=True, slots=True)
class Parked:
    """This attempt of a student is told to leave, so that another one gets its place."""

    student: str
    attempt: int
    pod_uid: str
    kind: Literal["Parked"] = "Parked"


@dataclass(frozen=True, slots=True)
class Unparked:
    """A parked student has not left, and works for a later round: it holds a place."""

    student: str
    kind: Literal["Unparked"] = "Unparked"


@dataclass(frozen=True, slots=True)
class Dropped:
    """A student has left the group for good."""

    student: str
    keeps_rows: bool
    """Its rows of the active round are whole and stay in; else they are withdrawn."""
    kind: Literal["Dropped"] = "Dropped"


@dataclass(frozen=True, slots=True)
class Finished:
    """A student's terminal record."""

    student: str
    summary: StudentSummary
    at_seconds: float
    kind: Literal["Finished"] = "Finished"


@dataclass(frozen=True, slots=True)
class Counted:
    """Soft-label bytes exchanged since the last such event, and each student's waiting time in total so far."""

    up_bytes: int
    down_bytes: int
    barrier_seconds: dict[str, float] = field(default_factory=dict)
    kind: Literal["Counted"] = "Counted"


@dataclass(frozen=True, slots=True)
class Completed:
    """result.json and the ensemble's manifest are written."""

    kind: Literal["Completed"] = "Completed"


@dataclass(frozen=True, slots=True)
class RowsDurable:
    """Rows [0, num_rows) of an upload are on disk. Observed: the upload's own file is its record."""

    student: str
    upload: int
    num_rows: int


@dataclass(frozen=True, slots=True)
class TimePassed:
    """Observed on a monotonic clock; after a restart it begins afresh."""

    seconds: float


Journaled = (
    Started
    | Admitted
    | Opened
    | Closed
    | TeacherStored
    | TeacherForgotten
    | Fetched
    | Parked
    | Unparked
    | Dropped
    | Finished
    | Counted
    | Completed
)
Event = Journaled | RowsDurable | TimePassed

_JOURNALED: Final[TypeAdapter[Journaled]] = TypeAdapter(Annotated[Journaled, Field(discriminator="kind")])


def event_to_json(event: Journaled) -> bytes:
    """Write one journal record."""
    return _JOURNALED.dump_json(event, by_alias=True)


def event_from_json(record: bytes) -> Journaled:
    """Read one journal record; pydantic.ValidationError when it is none of this version."""
    return _JOURNALED.validate_json(record)
