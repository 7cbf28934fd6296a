"""What happened, for good: each event is put on record and shown."""

import time
from collections.abc import Iterable

from distilljob.local.view import View
from distilljob.run_directory.events import RunEvent, RunReason, append_event, event_line, read_events
from distilljob.run_directory.folder import RunFolder
from distilljob_core.lifecycle.model import Event
from distilljob_core.round_table import CloseView, RoundTable

_SAID_OTHERWISE = frozenset({RunReason.RUNNER_STARTED, RunReason.RUNNER_STOPPED, RunReason.AGGREGATOR_STARTED})
"""The command announces them in words of its own."""


class Recorder:
    """Writes events.jsonl and runner.log, and tells the view."""

    def __init__(self, folder: RunFolder, view: View) -> None:
        self._folder = folder
        self._view = view
        self._began_seconds = time.monotonic()
        self._num_closes = sum(event.reason == RunReason.ROUND_CLOSED for event in read_events(folder).known)

    def tell(
        self,
        reason: str,
        message: str,
        *,
        student: str | None = None,
        attempt: int | None = None,
        is_warning: bool = False,
    ) -> None:
        """Put one event on record.

        Raises:
            StorageFull: no space left.
        """
        event = RunEvent(
            timestamp_seconds=time.time(),
            reason=reason,
            student=student,
            attempt=attempt,
            message=message,
            warning=is_warning,
        )
        append_event(self._folder, event)
        if reason not in _SAID_OTHERWISE:
            elapsed_seconds = time.monotonic() - self._began_seconds
            self._view.tell(event_line(event), elapsed_seconds=elapsed_seconds, is_warning=is_warning)

    def tell_decided(self, events: Iterable[Event]) -> None:
        """Put on record what the lifecycle told."""
        for event in events:
            self.tell(
                event.reason,
                event.message,
                student=event.student,
                attempt=event.attempt,
                is_warning=event.type == "Warning",
            )

    def tell_closes(self, table: RoundTable | None) -> None:
        """Put on record the rounds that have closed since, also those that closed while no runner lived."""
        for close in table.closes[self._num_closes :] if table else ():
            self.tell(RunReason.ROUND_CLOSED, _close_line(close), is_warning=bool(close.missing))
            self._num_closes += 1


def _close_line(close: CloseView) -> str:
    what = f"cycle {close.cycle}" if close.split == "train" else "the evaluation round"
    missing = f", without {', '.join(close.missing)}" if close.missing else ""
    return f"{what} closed: {len(close.contributors)} students{missing}"
