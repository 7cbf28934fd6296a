"""events.jsonl: everything the runner decided or saw, in order, over all runners of a run."""

import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import ValidationError

from distilljob.run_directory.folder import RunFolder
from distilljob_core.files import full_storage_named
from distilljob_core.results import Record


class RunReason(StrEnum):
    """What only a local run has to tell; all other reasons are those of distilljob_core.conditions."""

    RUNNER_STARTED = "RunnerStarted"
    """A runner took the folder; one that left no RunnerStopped before it was killed."""
    RUNNER_STOPPED = "RunnerStopped"
    """It left, and nothing of it lives on."""
    AGGREGATOR_STARTED = "AggregatorStarted"
    AGGREGATOR_ENDED = "AggregatorEnded"
    """Not asked to: students retry until the next one answers."""
    FINISH_ASKED = "FinishAsked"
    """`distilljob finish` asked for an end after the open cycle or a later one."""
    ROUND_CLOSED = "RoundClosed"


class RunEvent(Record):
    """One event."""

    timestamp_seconds: float
    """On the system's clock, since 1970; whatever that does, the lines stand in the order of what happened."""
    reason: str
    """Of RunReason or distilljob_core.conditions."""
    student: str | None = None
    """Whom it is about; None = the run."""
    attempt: int | None = None
    """Of that student; for the aggregator, which start of it."""
    message: str = ""
    warning: bool = False


def event_line(event: RunEvent) -> str:
    """Write one event on one line, without its time."""
    about = f"{event.student}: " if event.student else ""
    return f"{about}{event.reason}" + (f", {' '.join(event.message.split())}" if event.message else "")


def append_event(folder: RunFolder, event: RunEvent) -> None:
    """Put one event on record: a line of events.jsonl, and the same for people in logs/runner.log.

    Raises:
        StorageFull: no space left; neither file ends with half a line.
    """
    record = json.dumps(event.model_dump(mode="json", by_alias=True, exclude_none=True), ensure_ascii=False)
    _append_line(folder.events, record)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(event.timestamp_seconds))
    _append_line(folder.runner_log, f"{stamp} {'warning ' if event.warning else ''}{event_line(event)}")


def _append_line(path: Path, line: str) -> None:
    """Add a whole line or nothing; one that a crash left torn is closed first."""
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        size_bytes = os.fstat(descriptor).st_size
        is_torn = size_bytes > 0 and os.pread(descriptor, 1, size_bytes - 1) != b"\n"
        left = (b"\n" if is_torn else b"") + line.encode() + b"\n"
        try:
            with full_storage_named(path):
                while left:
                    left = left[os.write(descriptor, left) :]
        except BaseException:
            os.ftruncate(descriptor, size_bytes)
            raise
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class ReadEvents:
    """What a file of events held."""

    known: Sequence[RunEvent] = ()
    """Oldest first."""
    num_unreadable: int = 0
    """Lines that are torn, or of another version."""


def read_events(folder: RunFolder) -> ReadEvents:
    """Read the events; none where there is no file yet."""
    try:
        lines = folder.events.read_bytes().splitlines()
    except FileNotFoundError:
        return ReadEvents()
    known = []
    for line in lines:
        with suppress(ValidationError):
            known.append(RunEvent.model_validate_json(line))
    return ReadEvents(known, len(lines) - len(known))
