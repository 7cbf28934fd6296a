"""The loop of a local run: look, let the lifecycle decide, remember, do, show. All effects of a run start here."""

import os
from contextlib import suppress
from enum import Enum
from importlib.metadata import version
from typing import Final

from distilljob.errors import BadInput
from distilljob.local.clock import Clock
from distilljob.local.machine import Machine
from distilljob.local.picture import Painter
from distilljob.local.recorder import Recorder
from distilljob.local.settings import Settings, to_store
from distilljob.local.signals import Signals
from distilljob.local.view import View
from distilljob.run_directory.events import RunReason
from distilljob.run_directory.folder import RunFolder
from distilljob.run_directory.memory import Memory, write_memory
from distilljob.run_directory.wishes import read_wish
from distilljob_core.errors import StorageFull
from distilljob_core.lifecycle.decide import decide
from distilljob_core.lifecycle.model import Decision, JobState, Start
from distilljob_core.lifecycle.seen import Wishes
from distilljob_core.round_table import RoundTable
from distilljob_core.spec.job import DistillJob
from distilljob_core.spec.policies import Hang

TICK_SECONDS: Final = 1.0
SHORTEST_SECONDS: Final = 0.05
ALIVE_SECONDS: Final = 10.0
"""How much of its active time a killed runner can lose."""
PATIENCE_SECONDS: Final = 30.0


class Ended(Enum):
    """Why a runner returned, in words."""

    JOB = "the job has ended"
    """The lifecycle's outcome says how."""
    STOPPED = "a signal asked for it"
    """Everything is saved."""
    AGGREGATOR = "the aggregator cannot be kept alive"
    """Everything else is saved."""


def patience_seconds(hang: Hang) -> float:
    """How long the loop may be away and still count as watching: half of the shortest limit on a student's silence.

    Ages that the aggregator tells may have grown by as much meanwhile.
    """
    limits = (
        hang.startup_seconds,
        hang.steady_seconds,
        hang.evaluation_seconds,
        hang.exchange_seconds,
        hang.checkpoint_seconds,
    )
    return min(PATIENCE_SECONDS, min(limits) / 2)


class Runner:
    """Drives one run from wherever it stands to its end."""

    def __init__(
        self,
        job: DistillJob,
        folder: RunFolder,
        settings: Settings,
        state: JobState,
        *,
        machine: Machine,
        view: View,
        signals: Signals,
        table: RoundTable | None,
    ) -> None:
        self._job = job
        self._folder = folder
        self._settings = settings
        self._machine = machine
        self._view = view
        self._signals = signals
        self._clock = Clock(patience_seconds(job.spec.failure_policy.hang))
        self._painter = Painter(job, self._clock.began_seconds)
        self._recorder = Recorder(folder, view)
        self._saved: JobState | None = None
        self._saved_seconds = self._clock.began_seconds
        self._table = table
        self._stop_cycle = job.spec.stop_after_cycle
        self.state = state

    def run(self) -> Ended:
        """Go on until the job has ended, or somebody asks to stop, and no process is left.

        Raises:
            StorageFull: what must not be forgotten cannot be written; every process has been told to save and leave.
        """
        try:
            self._recorder.tell(RunReason.RUNNER_STARTED, f"process {os.getpid()}, distilljob {version('distilljob')}")
            ended = self._go_on()
            self._recorder.tell(RunReason.RUNNER_STOPPED, ended.value)
        except StorageFull:
            self._machine.leave(self._clock.now, lambda: bool(self._signals.stops))
            raise
        return ended

    def _go_on(self) -> Ended:
        while True:
            decision = self._step()
            if not self._machine.processes() and not decision.aggregator_wanted:
                if self.state.outcome is not None:
                    return Ended.JOB
                if self._signals.stops:
                    return Ended.STOPPED
                if self._machine.aggregator.failure is not None:
                    return Ended.AGGREGATOR
            soon = TICK_SECONDS
            if decision.next_wake_seconds is not None:
                soon = min(soon, decision.next_wake_seconds - self._clock.now())
            self._signals.wait(max(soon, SHORTEST_SECONDS))

    def _step(self) -> Decision:
        now_seconds = self._clock.tick()
        if (ended := self._machine.aggregator.observe(now_seconds)) is not None:
            message = f"the aggregator ended with exit code {ended.exit_code} ({ended.log.name}); students retry"
            self._recorder.tell(RunReason.AGGREGATOR_ENDED, message, attempt=ended.process.attempt, is_warning=True)
        seen = self._machine.look(self.state, now_seconds, self._clock.watching_since_seconds)
        self._recorder.tell_closes(seen.table)
        wishes = Wishes(self._must_stop(), self._stop_after_cycle())
        decision = decide(self._job.spec, wishes, seen, self.state, now_seconds)
        self._remember(decision.state, now_seconds)
        self._recorder.tell_decided(decision.events)
        self._do(decision, now_seconds)
        self._view.show(self._painter.picture(decision.state, seen.table, now_seconds))
        return decision

    def _must_stop(self) -> bool:
        """Whether to save and leave. To the lifecycle that is a suspension: nothing of it counts as a failure."""
        if len(self._signals.stops) > 1:
            for child in self._machine.processes():
                child.kill()
        return bool(self._signals.stops) or self._machine.aggregator.failure is not None

    def _stop_after_cycle(self) -> int | None:
        """Read the user's newest wish; one that cannot be read now changes nothing."""
        with suppress(BadInput, OSError):
            wish = read_wish(self._folder)
            cycle = wish.stop_after_cycle if wish else self._job.spec.stop_after_cycle
            if wish is not None and cycle != self._stop_cycle:
                self._recorder.tell(RunReason.FINISH_ASKED, f"the run ends after cycle {cycle}")
            self._stop_cycle = cycle
        return self._stop_cycle

    def _remember(self, state: JobState, now_seconds: float) -> None:
        """Write down what has changed before it is acted on; now and then also that the runner lives."""
        self.state = state
        self._table = self._machine.table or self._table
        if state != self._saved or now_seconds - self._saved_seconds >= ALIVE_SECONDS:
            write_memory(self._folder, Memory(state, to_store(self._settings), now_seconds, self._table))
            self._saved, self._saved_seconds = state, now_seconds

    def _do(self, decision: Decision, now_seconds: float) -> None:
        self._machine.tell(decision.control)
        if (started := self._machine.keep_aggregator(decision.aggregator_wanted, now_seconds)) is not None:
            number = started.process.attempt
            self._recorder.tell(RunReason.AGGREGATOR_STARTED, f"start {number}", attempt=number)
        for action in decision.actions:
            if isinstance(action, Start):
                self._machine.start_attempt(action, now_seconds)
            else:
                self._machine.end_attempt(action, now_seconds)
