"""Keeps one aggregator alive for as long as it is wanted; students ride out its restarts."""

from collections.abc import Callable
from typing import Final

from distilljob.local.processes import Child
from distilljob_core.exit_codes import ExitCode, is_fatal

BACKOFF_SECONDS: Final = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Waiting times before restarts in a row; one more failure in a row gives up."""
FIRST_TRIES: Final = 3
"""One that has never answered yet gives up sooner: it is not installed well."""
STEADY_SECONDS: Final = 60.0
"""An aggregator that lived this long has started well; its next failure is a first one."""


class AggregatorKeeper:
    """Restarts a dead aggregator at once, then ever slower, and says when there is no point in going on."""

    def __init__(self, start: Callable[[float], Child]) -> None:
        self._start = start
        self._failures_in_a_row = 0
        self._start_at_seconds = 0.0
        self._asked_to_leave = False
        self.has_answered = False
        """Set by whoever reads it."""
        self.child: Child | None = None
        self.failure: Child | None = None
        """The aggregator whose end was one too many."""

    def observe(self, now_seconds: float) -> Child | None:
        """Look whether it has died, and plan its restart; gives one that ended unasked."""
        if self.child is None or self.child.poll(now_seconds) is None:
            return None
        ended, self.child = self.child, None
        if self._asked_to_leave:
            return None
        if now_seconds - ended.started_seconds > STEADY_SECONDS:
            self._failures_in_a_row = 0
        self._failures_in_a_row += 1
        most = len(BACKOFF_SECONDS) if self.has_answered else FIRST_TRIES - 1
        if is_fatal(ended.exit_code or ExitCode.CRASH) or self._failures_in_a_row > most:
            self.failure = ended
        else:
            self._start_at_seconds = now_seconds + BACKOFF_SECONDS[self._failures_in_a_row - 1]
        return ended

    def keep(self, wanted: bool, now_seconds: float, grace_seconds: float) -> Child | None:
        """Make it run, or leave; gives one that was started now."""
        if not wanted:
            if self.child is not None:
                self._asked_to_leave = True
                self.child.terminate(now_seconds + grace_seconds)
        elif self.child is None and self.failure is None and now_seconds >= self._start_at_seconds:
            self.child = self._start(now_seconds)
            self._asked_to_leave = False
            return self.child
        return None
