"""The loop of a local run: look, let the lifecycle decide, remember, do, show. All effects of a run start here."""

import time
from enum import Enum, auto
from typing import Final

from distilljob.local.machine import Machine
from distilljob.local.picture import Painter
from distilljob.local.settings import Settings, to_store
from distilljob.local.signals import Signals
from distilljob.local.view import View
from distilljob.run_directory.folder import RunFolder, write_json
from distilljob_core.lifecycle.decide import decide
from distilljob_core.lifecycle.model import Decision, Event, JobState, Start, state_to_json
from distilljob_core.lifecycle.seen import Wishes
from distilljob_core.spec.job import DistillJob

TICK_SECONDS: Final = 1.0
PAUSE_SECONDS: Final = 30.0
"""A loop that was away for so long, or whose clock ran backwards, has not been watching."""


class Ended(Enum):
    """Why a runner returned."""

    JOB = auto()
    """The lifecycle's outcome says how."""
    STOPPED = auto()
    """A signal asked for it; everything is saved."""
    AGGREGATOR = auto()
    """The aggregator cannot be kept alive; everything else is saved."""


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
    ) -> None:
        self._job = job
        self._folder = folder
        self._settings = settings
        self._machine = machine
        self._view = view
        self._signals = signals
        self._began_seconds = self._now_seconds = self._watching_since_seconds = time.time()
        self._painter = Painter(job, self._began_seconds)
        self._num_closes: int | None = None
        self._saved: JobState | None = None
        self.state = state

    def run(self) -> Ended:
        """Go on until the job has ended, or somebody asks to stop, and no process is left."""
        while True:
            decision = self._step()
            if not self._machine.processes() and not decision.aggregator_wanted:
                if self.state.outcome is not None:
                    return Ended.JOB
                if self._signals.stops:
                    return Ended.STOPPED
                if self._machine.aggregator.failure is not None:
                    return Ended.AGGREGATOR
            soon = (decision.next_wake_seconds or self._now_seconds + TICK_SECONDS) - time.time()
            self._signals.wait(min(TICK_SECONDS, max(soon, 0.05)))

    def _step(self) -> Decision:
        now_seconds = self._tick()
        if (message := self._machine.aggregator.observe(now_seconds)) is not None:
            self._tell(message, is_warning=True)
        seen = self._machine.look(self.state, now_seconds, self._watching_since_seconds)
        wishes = Wishes(self._must_stop(), self._job.spec.stop_after_cycle)
        decision = decide(self._job.spec, wishes, seen, self.state, now_seconds)
        self._remember(decision.state)
        self._do(decision, now_seconds)
        self._report(decision, now_seconds)
        return decision

    def _tick(self) -> float:
        """Read the clock; after a pause, or a jump, watching begins anew."""
        now_seconds = time.time()
        if not 0 <= now_seconds - self._now_seconds <= PAUSE_SECONDS:
            self._watching_since_seconds = now_seconds
        self._now_seconds = now_seconds
        return now_seconds

    def _must_stop(self) -> bool:
        """Whether to save and leave. To the lifecycle that is a suspension: nothing of it counts as a failure."""
        if len(self._signals.stops) > 1:
            for child in self._machine.processes():
                child.kill()
        return bool(self._signals.stops) or self._machine.aggregator.failure is not None

    def _remember(self, state: JobState) -> None:
        self.state = state
        if state != self._saved:
            save_state(self._folder, self._settings, state)
            self._saved = state

    def _do(self, decision: Decision, now_seconds: float) -> None:
        self._machine.tell(decision.control)
        self._machine.keep_aggregator(decision.aggregator_wanted, now_seconds)
        for action in decision.actions:
            if isinstance(action, Start):
                self._machine.start_attempt(action, now_seconds)
            else:
                self._machine.end_attempt(action, now_seconds)

    def _report(self, decision: Decision, now_seconds: float) -> None:
        self._report_closes()
        for event in decision.events:
            self._tell(event_line(event), is_warning=event.type == "Warning")
        self._view.show(self._painter.picture(decision.state, self._machine.table, now_seconds))

    def _report_closes(self) -> None:
        if (table := self._machine.table) is None:
            return
        first = len(table.closes) if self._num_closes is None else self._num_closes
        for close in table.closes[first:]:
            missing = f", without {', '.join(close.missing)}" if close.missing else ""
            what = f"cycle {close.cycle}" if close.split == "train" else "the evaluation round"
            self._tell(f"{what} closed: {len(close.contributors)} students{missing}")
        self._num_closes = len(table.closes)

    def _tell(self, text: str, *, is_warning: bool = False) -> None:
        self._view.tell(text, elapsed_seconds=self._now_seconds - self._began_seconds, is_warning=is_warning)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(self._now_seconds))
        with (self._folder.logs / "runner.log").open("a", encoding="utf-8") as log:
            log.write(f"{stamp} {'warning ' if is_warning else ''}{text}\n")


def save_state(folder: RunFolder, settings: Settings, state: JobState) -> None:
    """Remember everything that the next runner must know."""
    write_json(folder.state, {"settings": to_store(settings), "lifecycle": state_to_json(state)})


def event_line(event: Event) -> str:
    """Write one event of the lifecycle on one line."""
    about = f"{event.student}: " if event.student else ""
    return f"{about}{event.reason.value}" + (f", {' '.join(event.message.split())}" if event.message else "")
