"""Lessons from the aggregator, kept beside the checkpoints so that a distillation phase can be resumed without it."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog
import torch
from pydantic import TypeAdapter
from torch import Tensor

from distilljob_core.exchange import CloseRecord, NeedRows, Offer, RoundKey
from distilljob_core.phases import StudentPhase
from distilljob_core.rpc.client import AggregatorClient, LabelSource
from distilljob_core.softlabels.frames import Split
from distilljob_trainer import sealed
from distilljob_trainer.algorithm import Lesson

KEPT: Final = 2
"""Lessons kept: the older of two checkpoints may stand in the cycle before."""
_PATTERN: Final = "teacher-*.json"
_RECORD: Final = TypeAdapter(CloseRecord)

log = structlog.get_logger()


class RemoteTeacher:
    """One student's end of the exchange.

    Args:
        client: has joined.
        directory: where lessons are kept.
        device: where lessons are needed.
        enter: told what the student is doing.
    """

    def __init__(
        self, client: AggregatorClient, directory: Path, device: torch.device, enter: Callable[[StudentPhase], None]
    ) -> None:
        self._client = client
        self._directory = directory
        self._device = device
        self._enter = enter
        self._offered: tuple[Offer, LabelSource] | None = None
        self._record: CloseRecord | None = None

    def offer(self, offer: Offer, labels: LabelSource) -> None:
        """Upload this student's soft labels until they are durable; nothing when the round is closed already."""
        self._offered = offer, labels
        self._record = None if self._stored(offer.round) else self._client.upload(offer, labels)

    def lesson(self, key: RoundKey) -> Lesson:
        """Wait for the round to close, fetch its teacher and keep it; a kept one needs no aggregator."""
        if kept := self._stored(key):
            return kept
        record = self._record or self._wait(key)
        self._enter(StudentPhase.FETCHING)
        p_NK = torch.cat([torch.from_numpy(rows_BK) for _, rows_BK in self._client.teacher(key)])
        if key.split is Split.TRAIN:
            self._keep(record, p_NK)
        return Lesson(record, p_NK.to(self._device))

    def _wait(self, key: RoundKey) -> CloseRecord:
        while True:
            self._enter(StudentPhase.WAITING)
            answer = self._client.wait(key)
            if isinstance(answer, CloseRecord):
                return answer
            if isinstance(answer, NeedRows) and self._offered is not None:
                log.warning("the aggregator lost rows and gets them again", round=str(key), row=answer.next_row)
                self._client.upload(*self._offered)

    def _stored(self, key: RoundKey) -> Lesson | None:
        path = lesson_path(self._directory, key.cycle)
        if key.split is not Split.TRAIN or not path.exists():
            return None
        try:
            body, tensors = sealed.read(path)
        except sealed.Damaged as error:
            log.warning("damaged lesson removed; it is fetched again", error=str(error))
            sealed.remove(path)
            return None
        return Lesson(_RECORD.validate_python(body), tensors["p_NK"].to(self._device))

    def _keep(self, record: CloseRecord, p_NK: Tensor) -> None:
        sealed.write(lesson_path(self._directory, record.round.cycle), dataclasses.asdict(record), {"p_NK": p_NK})
        for old in sorted(self._directory.glob(_PATTERN), reverse=True)[KEPT:]:
            sealed.remove(old)


def lesson_path(directory: Path, cycle: int) -> Path:
    """Name the file that keeps a cycle's lesson."""
    return directory / _PATTERN.replace("*", f"{cycle:08}")


def newest_lesson(directory: Path) -> int:
    """Number the newest cycle whose lesson was kept; 0 = none."""
    return max((int(path.stem.removeprefix("teacher-")) for path in directory.glob(_PATTERN)), default=0)
