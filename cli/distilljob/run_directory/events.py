"""events.jsonl: everything the runner decided or saw, in order, over all runners of a run."""

import json
from collections.abc import Iterator

from pydantic import ValidationError

from distilljob.run_directory.folder import RunFolder
from distilljob_core.results import Record


class RunEvent(Record):
    """One event."""

    timestamp_seconds: float
    """On the runner's wall clock, since 1970."""
    reason: str
    """A reason of distilljob_core.conditions, or RunnerStarted, RunnerStopped, AggregatorEnded, RoundClosed."""
    student: str | None = None
    """Whom it is about; None = the run."""
    attempt: int | None = None
    message: str = ""
    warning: bool = False


def append_event(folder: RunFolder, event: RunEvent) -> None:
    """Add one event at the end of the file; a line that a killed runner left torn is closed first."""
    line = json.dumps(event.model_dump(mode="json", exclude_none=True), ensure_ascii=False)
    with folder.events.open("a+b") as file:
        if file.tell() and (file.seek(-1, 2), file.read(1))[1] != b"\n":
            file.write(b"\n")
        file.write(line.encode() + b"\n")


def read_events(folder: RunFolder) -> Iterator[RunEvent]:
    """Read the events that are whole, oldest first."""
    if not folder.events.exists():
        return
    for line in folder.events.read_bytes().splitlines():
        try:
            yield RunEvent.model_validate_json(line)
        except ValidationError:
            continue
