"""The rules and the disk of an aggregator without network or threads: events in, teachers out."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from distilljob_aggregator.rounds import admission
from distilljob_aggregator.rounds.due import RowsLost, StoreTeacher, Wishes, WriteResults, next_due
from distilljob_aggregator.rounds.events import (
    Completed,
    Dropped,
    Event,
    Journaled,
    Opened,
    RowsDurable,
    Started,
    TeacherForgotten,
    TeacherStored,
    TimePassed,
    event_from_json,
    event_to_json,
)
from distilljob_aggregator.rounds.plan import Plan
from distilljob_aggregator.rounds.reduce import reduce, replay
from distilljob_aggregator.rounds.state import State, initial_state
from distilljob_aggregator.state_directory import StateDirectory
from distilljob_core.errors import StateLost
from distilljob_core.exchange import CloseRecord, Identity, Offer, RoundKey, SplitShape
from distilljob_core.softlabels.codecs import codec
from distilljob_core.softlabels.frames import Split, pack, unpack

NUM_CLASSES = 3
SHAPES = {Split.TRAIN: SplitShape(7, NUM_CLASSES, "train"), Split.EVALUATION: SplitShape(4, NUM_CLASSES, "evaluation")}
FLOAT16 = codec("Float16")
BYTES_PER_ROW = FLOAT16.bytes_per_row(NUM_CLASSES)


class Exchange:
    """One job's aggregator, one thing at a time."""

    def __init__(self, folder: Path, num_students: int = 3, **plan) -> None:
        self.folder = folder
        self.plan = Plan(
            **{
                "job": "test",
                "uid": "uid",
                "method": "MD",
                "students": tuple("abcdefgh"[:num_students]),
                "cycles": 2,
                "codec": "Float16",
                "weights": "Accuracy",
                "temperature": 3.0,
            }
            | plan
        )
        self.journal: list[bytes] = []
        self.wishes = Wishes()
        self.state = initial_state(self.plan)
        self.directory = StateDirectory(folder, "Float16")
        self.commit(Started("uid", 1.0))

    def commit(self, event: Journaled) -> None:
        self.journal.append(event_to_json(event))
        assert event_from_json(self.journal[-1]) == event
        self.state = reduce(self.state, event)

    def observe(self, *events: Event) -> None:
        self.state = replay(self.state, list(events))

    def restart(self) -> None:
        """Lose all memory."""
        self.directory.close()
        self.directory = StateDirectory(self.folder, "Float16")
        self.state = self.replayed()
        self.observe_rows(self.directory.load(self.state))

    def replayed(self) -> State:
        return replay(initial_state(self.plan), [event_from_json(record) for record in self.journal])

    def observe_rows(self, rows: dict[str, int]) -> None:
        for student, num_rows in rows.items():
            self.observe(RowsDurable(student, self.state.uploads[student].number, num_rows))

    def join(self, student: str, attempt: int = 1, pod_uid: str | None = None, closed_seen: int = 0, **changes) -> int:
        who = Identity(
            changes.get("uid", "uid"), student, attempt, f"{student}-{attempt}" if pod_uid is None else pod_uid
        )
        admitted = admission.join(self.state, who, changes.get("splits", SHAPES), closed_seen, stride=1)
        if admitted is not None:
            self.commit(admitted)
        return self.state.students[student].token

    def offer(self, student: str, key: RoundKey | None = None, digest: str = "1", weight: int = 5, **changes) -> Offer:
        key = key or self.state.active or RoundKey(1)
        num_correct = changes.get("num_correct", weight)
        return Offer(key, weight, num_correct, 10, changes.get("codec", "Float16"), f"{student}-{digest}", 0.5)

    def open(self, student: str, key: RoundKey | None = None, digest: str = "1", weight: int = 5, **changes):
        answer = admission.open_round(self.state, student, self.offer(student, key, digest, weight, **changes))
        if isinstance(answer, CloseRecord):
            return answer
        if isinstance(answer, Opened):
            self.commit(answer)
        self.directory.align(lambda: self.state)
        return self.state.uploads[student].durable_rows

    def codes(self, student: str, key: RoundKey, digest: str) -> np.ndarray:
        """The encoded soft labels that a student has for a round, [N, bytes]."""
        seed = [key.cycle, key.split, *digest.encode()]
        p_NK = np.random.default_rng(seed).dirichlet(np.ones(NUM_CLASSES), SHAPES[key.split].num_rows)
        return FLOAT16.encode(p_NK.astype(np.float32))

    def frame(self, student: str, first_row: int, num_rows: int) -> bytes:
        offer = self.state.uploads[student].offer
        rows = self.codes(student, offer.round, offer.source_digest)[first_row : first_row + num_rows]
        cycle, split = offer.round.cycle, offer.round.split
        return pack(rows, cycle=cycle, split=split, first_row=first_row, bytes_per_row=BYTES_PER_ROW)

    def rows(self, student: str, first_row: int, num_rows: int, *, durable: bool = True) -> None:
        upload = admission.accepts_rows(self.state, student)
        self.directory.take(student, upload.number, self.frame(student, first_row, num_rows))
        if durable:
            self.observe(RowsDurable(student, upload.number, self.directory.sync(student, upload.number)))

    def all_rows(self, student: str) -> None:
        """Bring what is still wanted of an opened upload."""
        upload = self.state.uploads[student]
        num_rows = self.state.num_rows(upload.offer.round)
        if upload.durable_rows < num_rows:
            self.rows(student, upload.durable_rows, num_rows - upload.durable_rows)

    def bring(self, *students: str, **offer) -> None:
        """Open and upload whole."""
        for student in students:
            self.open(student, **offer)
            self.all_rows(student)

    def pass_time(self, seconds: float) -> None:
        self.observe(TimePassed(seconds))

    def step(self) -> bool:
        """Do one thing that is due, as the worker does."""
        due = next_due(self.state, self.wishes)
        match due:
            case None | RowsLost():
                return False
            case StoreTeacher():
                try:
                    self.directory.store_teacher(self.state, due.record)
                except StateLost:
                    self.observe_rows(self.directory.recheck())
                    return True
                self.commit(TeacherStored(due.record.round))
                self.directory.align(lambda: self.state)
            case WriteResults():
                self.commit(Completed())
            case TeacherForgotten():
                self.commit(due)
                self.directory.forget_teacher(due.round)
            case _:
                self.commit(due)
                if isinstance(due, Dropped):
                    self.directory.align(lambda: self.state)
        return True

    def settle(self) -> None:
        for _ in range(100):
            if not self.step():
                return
        raise AssertionError("there is always more to do")

    def teacher(self, key: RoundKey) -> bytes:
        """The stored teacher's rows."""
        teacher = self.directory.open_teacher(self.state, key)
        try:
            row, parts = 0, []
            while row < teacher.num_rows:
                frame, row = teacher.frame(row)
                parts.append(bytes(unpack(frame, BYTES_PER_ROW)[1]))
            return b"".join(parts)
        finally:
            teacher.close()

    def reference(self, record: CloseRecord) -> bytes:
        """The same in exact rational arithmetic, from the record alone."""
        total_NK: np.ndarray | int = 0
        for part, weight in zip(record.contributions, record.weights_used(), strict=True):
            codes = self.codes(part.student, record.round, part.source_digest)
            u_NK = FLOAT16.decode(codes.tobytes(), NUM_CLASSES)
            total_NK = total_NK + weight * np.vectorize(int, otypes=[object])(u_NK)
        mean_NK = np.vectorize(lambda total: float(Fraction(total, record.weight_sum)))(total_NK)
        return FLOAT16.encode_grid(mean_NK).tobytes()


@pytest.fixture
def exchange(tmp_path: Path) -> Callable[..., Exchange]:
    """Make an exchange; `joined=True` lets every student's first attempt join."""

    def make(num_students: int = 3, *, joined: bool = True, **plan) -> Exchange:
        folder = tmp_path / "state"
        folder.mkdir(exist_ok=True)
        made = Exchange(folder, num_students, **plan)
        for student in made.plan.students if joined else ():
            made.join(student)
        return made

    return make


@pytest.fixture
def exchange_in() -> Callable[..., Exchange]:
    """Make an exchange in a folder of the caller's choice, with nobody in it."""
    return Exchange
