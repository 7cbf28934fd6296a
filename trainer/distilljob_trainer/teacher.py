"""Where lessons come from: other students in this process, or the aggregator (remote.py). Both give the same bits.

Shapes: N rows of a split, B rows of a block, K classes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from distilljob_core.exchange import CloseRecord, Contribution, Offer, RoundKey
from distilljob_core.rpc.client import LabelSource
from distilljob_core.softlabels.codecs import Codec
from distilljob_core.softlabels.grid import GridRows, renormalize
from distilljob_trainer.algorithm import Lesson

EncodedBlock = tuple[NDArray[np.uint8], int]
"""Rows in a codec's bytes, and their number of classes."""


class Teacher(Protocol):
    """One student's way to its lessons. First everybody offers, then everybody gets the lesson."""

    def offer(self, offer: Offer, labels: LabelSource) -> None:
        """Bring this student's soft labels."""

    def lesson(self, key: RoundKey) -> Lesson:
        """Give the ensemble's soft labels of a round, once it is closed."""


class Accumulator(Protocol):
    """The exact weighted sum; the aggregator's own is used, so that nothing can differ."""

    def add(self, first_row: int, u_BK: GridRows, weight: int) -> None:
        """Add w * u to some rows."""

    def teacher_rows(self, first_row: int, num_rows: int, weight_sum: int, codec: Codec) -> NDArray[np.uint8]:
        """Encode the mean of some rows."""


@dataclass(slots=True)
class _Round:
    offers: dict[str, Offer] = field(default_factory=dict)
    rows: dict[str, list[EncodedBlock]] = field(default_factory=dict)
    lesson: Lesson | None = None


class Classroom:
    """A group of students in one process.

    Args:
        students: all of them; a round closes with the last one's offer.
        cycles: number of training rounds.
        codec: what soft labels go through, as if they travelled.
        make_accumulator: called with N and K.
    """

    def __init__(
        self,
        students: tuple[str, ...],
        cycles: int,
        codec: Codec,
        make_accumulator: Callable[[int, int], Accumulator],
    ) -> None:
        self._students = students
        self._cycles = cycles
        self._codec = codec
        self._make_accumulator = make_accumulator
        self._rounds: dict[RoundKey, _Round] = {}

    def take(self, student: str, offer: Offer, labels: LabelSource) -> None:
        """Keep one student's rows, encoded."""
        round_ = self._rounds.setdefault(offer.round, _Round())
        round_.offers[student] = offer
        round_.rows[student] = [(self._codec.encode(s_BK), s_BK.shape[1]) for s_BK in labels(0)]

    def teach(self, key: RoundKey) -> Lesson:
        """Close a round that everybody has brought rows for; the lesson is made once."""
        round_ = self._rounds[key]
        if round_.lesson is None:
            record = self._record(key, round_.offers)
            round_.lesson = Lesson(record, torch.from_numpy(self._mean(round_.rows, record)))
            round_.rows.clear()
        return round_.lesson

    def _record(self, key: RoundKey, offers: dict[str, Offer]) -> CloseRecord:
        parts = [(name, offers[name]) for name in self._students]
        weights = [offer.weight for _, offer in parts]
        return CloseRecord(
            key,
            tuple(Contribution.of(name, offer) for name, offer in parts),
            weight_sum=sum(weights) or len(weights),
            uniform_fallback=not any(weights),
            codec=self._codec.name,
            last=key.cycle == self._cycles,
            missing=(),
        )

    def _mean(self, rows: dict[str, list[EncodedBlock]], record: CloseRecord) -> NDArray[np.float32]:
        num_rows = sum(len(block) for block, _ in rows[self._students[0]])
        _, num_classes = rows[self._students[0]][0]
        accumulator = self._make_accumulator(num_rows, num_classes)
        for name, weight in zip(self._students, record.weights_used(), strict=True):
            first_row = 0
            for block, _ in rows[name]:
                accumulator.add(first_row, self._codec.decode(block.tobytes(), num_classes), weight)
                first_row += len(block)
        mean = accumulator.teacher_rows(0, num_rows, record.weight_sum, self._codec)
        return renormalize(self._codec.decode(mean.tobytes(), num_classes))


class InProcessTeacher:
    """One student's place in a classroom."""

    def __init__(self, classroom: Classroom, student: str) -> None:
        self._classroom = classroom
        self._student = student

    def offer(self, offer: Offer, labels: LabelSource) -> None:
        """Bring this student's soft labels."""
        self._classroom.take(self._student, offer, labels)

    def lesson(self, key: RoundKey) -> Lesson:
        """Give the mean of everybody's."""
        return self._classroom.teach(key)
