"""Where a job's exchange stands: everything that decisions depend on."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from distilljob_aggregator.rounds.plan import Plan
from distilljob_core.exchange import CloseRecord, Offer, RoundKey, SplitShape
from distilljob_core.results import StudentSummary
from distilljob_core.softlabels.frames import Split


@dataclass(frozen=True, slots=True)
class Student:
    """One member of the group."""

    attempt: int = 0
    """Newest attempt that joined; 0 = none yet."""
    pod_uid: str = ""
    token: int = 0
    """The only one that is worth anything; 0 = none."""
    fenced_pod_uids: frozenset[str] = frozenset()
    is_parked: bool = False
    """The newest attempt was told to leave, and has not been seen at work since."""
    parked_attempt: int | None = None
    """The newest attempt, once it was told to leave: it may still do so after its round."""
    is_dropped: bool = False
    fetched: RoundKey | None = None
    """The newest round whose teacher this student was given whole."""
    barrier_seconds: float = 0.0
    """Time between its last row and the close, over all rounds."""
    summary: StudentSummary | None = None

    @property
    def is_running(self) -> bool:
        """It holds a place: it has joined, and has neither left for another one nor for good."""
        return self.token > 0 and not self.is_parked and self.is_expected

    @property
    def is_expected(self) -> bool:
        """It still has something to do."""
        return self.summary is None and not self.is_dropped


@dataclass(frozen=True, slots=True)
class Upload:
    """What one student brings to the active round."""

    number: int
    """Unique in the job; a restarted upload gets a new one."""
    offer: Offer
    durable_rows: int = 0


@dataclass(frozen=True, slots=True)
class State:
    """Made of journaled and observed events alone.

    One round is active at a time. Between its close and the storing of its teacher `closing` holds its record; only
    then does the next one begin.
    """

    plan: Plan
    students: Mapping[str, Student]
    active: RoundKey | None
    """None once the evaluation round's teacher is stored."""
    splits: Mapping[Split, SplitShape] = field(default_factory=dict)
    """As the first student to join had them."""
    last_token: int = 0
    last_upload: int = 0
    uploads: Mapping[str, Upload] = field(default_factory=dict)
    """Of the active round, by student."""
    closing: CloseRecord | None = None
    closes: tuple[CloseRecord, ...] = ()
    stored: frozenset[RoundKey] = frozenset()
    """Rounds whose teacher can be fetched."""
    forgotten: frozenset[RoundKey] = frozenset()
    open_seconds: float = 0.0
    """How long the active round has been active, since this process started."""
    waited_seconds: float = 0.0
    """Time since its first durable row, since this process started."""
    deadline_seconds: float = 0.0
    """How much of the cycle deadline is used up."""
    started_seconds: float = 0.0
    """When the job first started, on that aggregator's clock; 0 = no journal yet."""
    finished_seconds: float = 0.0
    """When the last Finish came, on that aggregator's clock."""
    up_bytes: int = 0
    down_bytes: int = 0
    is_complete: bool = False

    def num_rows(self, key: RoundKey) -> int:
        """Rows of a round's split; 0 while nobody has joined."""
        shape = self.splits.get(key.split)
        return 0 if shape is None else shape.num_rows

    def record(self, key: RoundKey) -> CloseRecord | None:
        """The record of a closed round."""
        return next((record for record in self.closes if record.round == key), None)

    def has_all_rows(self, student: str) -> bool:
        """Say whether a student's rows of the active round are all durable."""
        upload = self.uploads.get(student)
        return upload is not None and upload.durable_rows == self.num_rows(upload.offer.round)

    def expected(self) -> tuple[str, ...]:
        """Students that the open round waits for, in spec order."""
        return tuple(name for name in self.plan.students if not self.students[name].is_dropped)

    def missing(self) -> tuple[str, ...]:
        """Students whose rows the active round still lacks, in spec order."""
        if self.active is None:
            return ()
        if self.closing is not None:
            contributors = [part.student for part in self.closing.contributions]
            return tuple(name for name in contributors if not self.has_all_rows(name))
        return tuple(name for name in self.expected() if not self.has_all_rows(name))

    def barrier_seconds(self) -> dict[str, float]:
        """Each student's waiting time so far."""
        return {name: student.barrier_seconds for name, student in self.students.items()}

    def running(self) -> tuple[str, ...]:
        """Students that hold a place, in spec order."""
        return tuple(name for name in self.plan.students if self.students[name].is_running)

    def waits_for_place(self, name: str) -> bool:
        """Say whether a student cannot run now because others hold all places."""
        student, places = self.students[name], self.plan.maximum_concurrent
        if places is None or student.is_running or not student.is_expected:
            return False
        return student.is_parked or len(self.running()) >= places


def initial_state(plan: Plan) -> State:
    """The state before anything happened."""
    return State(plan=plan, students={name: Student() for name in plan.students}, active=plan.first_round)
