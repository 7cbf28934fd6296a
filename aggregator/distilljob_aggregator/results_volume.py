"""The results volume: students' files, whole or not at all; the job's result and the ensemble's manifest."""

import errno
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from distilljob_aggregator.rounds.state import State
from distilljob_core.artifacts import ENSEMBLE_FILE, RESULT_FILE, EnsembleManifest, EnsembleMember
from distilljob_core.errors import BadFrame, ChecksumMismatch, ResultsFull, StorageFull, UnknownStudent
from distilljob_core.exchange import CloseRecord
from distilljob_core.files import NO_SPACE, sync_directory, write_atomically
from distilljob_core.results import (
    EnsembleOutcome,
    RunResult,
    StudentResult,
    StudentSummary,
    best_student,
    teacher_gains,
)
from distilljob_core.softlabels.frames import Split


@contextmanager
def _room_needed(path: Path) -> Iterator[None]:
    try:
        yield
    except StorageFull as error:
        raise ResultsFull(str(error)) from error
    except OSError as error:
        if error.errno not in NO_SPACE:
            raise
        message = f"{path.name}: {os.strerror(error.errno or errno.ENOSPC)}; enlarge the results volume"
        raise ResultsFull(message) from error


class IncomingFile:
    """One file on its way into the volume; `finish` makes it appear, anything else leaves no trace.

    The number keeps apart those that come under the same name at the same time: a broken stream and its successor.
    """

    def __init__(self, path: Path, number: int, size_bytes: int, sha256: str) -> None:
        self._path = path
        self._size_bytes = size_bytes
        self._sha256 = sha256
        self._temporary = path.with_name(f".{path.name}.{number}.part")
        self._digest = hashlib.sha256()
        self._num_bytes = 0
        with _room_needed(path):
            self._file = self._temporary.open("wb")

    def write(self, chunk: bytes) -> None:
        """Take the next bytes.

        Raises:
            ResultsFull: there is no room.
            BadFrame: more bytes than announced.
        """
        self._num_bytes += len(chunk)
        if self._num_bytes > self._size_bytes:
            raise BadFrame(f"{self._path.name}: more than the announced {self._size_bytes} bytes")
        self._digest.update(chunk)
        with _room_needed(self._path):
            self._file.write(chunk)

    def finish(self) -> None:
        """Compare size and sha256 with what was announced, and put the file in its place durably.

        Raises:
            ResultsFull: there is no room.
            ChecksumMismatch: other bytes than announced.
        """
        if (self._num_bytes, self._digest.hexdigest()) != (self._size_bytes, self._sha256):
            raise ChecksumMismatch(f"{self._path.name}: other bytes than its size and sha256 announce; send it again")
        with _room_needed(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._temporary.replace(self._path)
            sync_directory(self._path.parent)

    def close(self) -> None:
        """Leave nothing half-done behind."""
        try:
            with _room_needed(self._path):
                self._file.close()  # writes what is still buffered, which a full volume refuses again
        finally:
            self._temporary.unlink(missing_ok=True)


class ResultsVolume:
    """One flat folder. Names of files begin with the name of the student they belong to."""

    def __init__(self, folder: Path, students: Sequence[str]) -> None:
        self._folder = folder
        self._students = students
        self._numbers = count(1)
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob(".*.part"):
            leftover.unlink()

    def incoming(self, student: str, name: str, size_bytes: int, sha256: str) -> IncomingFile:
        """Begin a file.

        Raises:
            UnknownStudent: the name is not one that this student may write.
        """
        if self._owner(name) != student:
            raise UnknownStudent(f"{name!r} is no file name of {student}: use {student}.*, or {student}-*, no folders")
        return IncomingFile(self._folder / name, next(self._numbers), size_bytes, sha256)

    def write_results(self, state: State) -> None:
        """Write ensemble.json and result.json.

        Raises:
            ResultsFull: there is no room.
        """
        for name, content in ((ENSEMBLE_FILE, ensemble_manifest(state)), (RESULT_FILE, run_result(state))):
            text = json.dumps(content.model_dump(mode="json", by_alias=True), indent=2)
            with _room_needed(self._folder / name):
                write_atomically(self._folder / name, f"{text}\n".encode())

    def _owner(self, name: str) -> str | None:
        """The student with the longest name that a file's name begins with: alexnet-0.x is not alexnet's."""
        if "/" in name or "\0" in name or len(name) > 200 or name in (RESULT_FILE, ENSEMBLE_FILE):
            return None
        owners = [student for student in self._students if name.startswith((f"{student}.", f"{student}-"))]
        return max(owners, key=len, default=None)


def ensemble_manifest(state: State) -> EnsembleManifest:
    """Describe the last round's ensemble: members that finished, with their weights and final networks."""
    record = _evaluation(state)
    members = []
    for part, weight in zip(record.contributions, record.weights_used(), strict=True):
        summary = state.students[part.student].summary
        artifact = next((item for item in summary.artifacts if item.kind == "last"), None) if summary else None
        if summary is not None and artifact is not None:
            members.append(
                EnsembleMember(
                    student=part.student, model=summary.model, weight=weight, file=artifact.name, sha256=artifact.sha256
                )
            )
    return EnsembleManifest(members=members)


def run_result(state: State) -> RunResult:
    """Put the students' terminal records together.

    `restarts` is 0 everywhere: only whoever starts attempts knows why they ended; the runner or operator fills it in.
    """
    summaries = [student.summary for student in state.students.values() if student.summary is not None]
    reasons = _inexact_reasons(state, summaries)
    best = best_student(summaries)
    return RunResult(
        name=state.plan.job,
        uid=state.plan.uid,
        method=state.plan.method,
        cycles=sum(record.round.split is Split.TRAIN for record in state.closes),
        exact=not reasons,
        inexact_reasons=reasons,
        students=[_student_result(state, summary) for summary in summaries],
        ensemble=_ensemble(summaries, best),
        teacher_gain=teacher_gains(summaries),
        best=best,
        seconds=max(0.0, state.finished_seconds - state.started_seconds),
        exchanged_bytes={"up": state.up_bytes, "down": state.down_bytes},
    )


def _evaluation(state: State) -> CloseRecord:
    return next(record for record in state.closes if record.round.split is Split.EVALUATION)


def _inexact_reasons(state: State, summaries: list[StudentSummary]) -> list[str]:
    short = [
        f"{record.round} was closed without {', '.join(record.missing)}" for record in state.closes if record.missing
    ]
    dropped = [f"{name} was dropped" for name, student in state.students.items() if student.is_dropped]
    own = [f"{summary.name}: {reason}" for summary in summaries for reason in summary.inexact_reasons]
    return short + dropped + own


def _student_result(state: State, summary: StudentSummary) -> StudentResult:
    total_seconds = sum(summary.seconds.values())
    barrier_seconds = state.students[summary.name].barrier_seconds
    share = min(1.0, barrier_seconds / total_seconds) if total_seconds > 0 else 0.0
    return StudentResult(**summary.model_dump(), restarts=0, barrier_share=share)


def _ensemble(summaries: list[StudentSummary], best: str) -> EnsembleOutcome | None:
    """All students measured the same ensemble; the disagreement shown is the best student's."""
    return next(summary.ensemble for summary in summaries if summary.name == best)
