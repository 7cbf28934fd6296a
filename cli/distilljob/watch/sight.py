"""One look at a local run from outside."""

import shlex
import time
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from distilljob.job_file import read_job
from distilljob.local.failure import ADVICE
from distilljob.local.picture import Painter, Picture
from distilljob.local.scrape import Unreadable, scrape
from distilljob.run_directory.events import RunEvent, RunReason, read_events
from distilljob.run_directory.find import find_run, read_snapshot
from distilljob.run_directory.folder import RunFolder
from distilljob.run_directory.memory import Memory, read_memory
from distilljob.run_directory.result import LocalResult, read_result
from distilljob.run_directory.wishes import read_wish
from distilljob_core.lifecycle.deadlines import active_seconds
from distilljob_core.lifecycle.model import JobState, StudentState
from distilljob_core.round_table import RoundTable
from distilljob_core.spec.job import DistillJob
from distilljob_core.spec.resolve import student_names


class RunPhase(StrEnum):
    """How a run stands."""

    RUNNING = "Running"
    STOPPED = "Stopped"
    """Nobody runs it; the same command goes on."""
    FAILED = "Failed"
    FINISHED = "Finished"


_OVER: Final = ("Finished", "Dropped")
_STYLES: Final = {RunPhase.RUNNING: "cyan", RunPhase.FINISHED: "green", RunPhase.FAILED: "red"}


@dataclass(frozen=True, slots=True)
class Sight:
    """What is seen of a run at one moment."""

    folder: RunFolder
    job: DistillJob
    phase: RunPhase
    runner: str | None
    """The process that runs it."""
    was_killed: bool
    """Its last runner left without a word."""
    memory: Memory
    table: RoundTable | None
    """The aggregator's, or the newest one that the runner saw."""
    aggregator: str
    """How the aggregator is."""
    result: LocalResult | None
    stop_after_cycle: int | None
    picture: Picture
    events: tuple[RunEvent, ...]

    @property
    def is_live(self) -> bool:
        """Whether a runner is at work."""
        return self.phase is RunPhase.RUNNING

    @property
    def state(self) -> JobState:
        """What the runner remembers."""
        return self.memory.state

    @property
    def phase_word(self) -> str:
        """How it stands, in a word."""
        return self.phase.value

    @property
    def phase_style(self) -> str:
        """The color of that word."""
        return _STYLES.get(self.phase, "yellow")

    @property
    def about(self) -> str:
        """Say who runs it, or how the last one left."""
        if self.was_killed and self.phase is RunPhase.STOPPED:
            return " (its runner was killed)"
        return f" (process {self.runner})" if self.runner else ""

    @property
    def verdict(self) -> str:
        """What came out of it; empty before the end."""
        return self.result.verdict if self.phase is RunPhase.FINISHED and self.result is not None else ""

    @property
    def origin(self) -> dict[str, Any]:
        """Where it runs, for programs."""
        return {"directory": str(self.folder.root), "runner": self.runner, "runnerWasKilled": self.was_killed}

    @property
    def advice(self) -> list[str]:
        """What to do next, then the commands that do it."""
        root, outcome = shlex.quote(str(self.folder.root)), self.state.outcome
        if self.phase is RunPhase.RUNNING:
            if outcome is not None:
                return ["it is about to end; look again", f"distilljob status {root}"]
            return ["watch it, or end it early and well", f"distilljob top {root}", f"distilljob finish {root}"]
        if self.phase is RunPhase.FINISHED:
            return [f"the weights are in {self.folder.results}; a page about the run", f"distilljob report {root}"]
        cure = ADVICE.get(outcome.reason, "try again") if outcome else "go on where it stopped"
        return [cure, self.command_line]

    @property
    def command_line(self) -> str:
        """A command that goes on with the run from anywhere; job.yaml holds what was asked for, --set and all."""
        parts = ["distilljob", "run", str(self.folder.job_yaml), "-o", str(self.folder.root)]
        if data := self.memory.settings.get("data"):
            parts += ["--data", str(data)]
        return shlex.join(parts)


class Watcher:
    """Looks at one run, as often as anybody likes."""

    def __init__(self, root: Path) -> None:
        """Find the run.

        Raises:
            NotFound: there is no such folder, or it holds no run.
            BadInput: its job cannot be read.
        """
        self.folder = find_run(root)
        snapshot = read_snapshot(self.folder)
        asked = read_job(self.folder.job_yaml).job if self.folder.job_yaml.exists() else snapshot
        self.job = asked.model_copy(update={"metadata": snapshot.metadata})
        self.names = student_names(self.job.spec)
        self._painter: Painter | None = None

    def look(self) -> Sight:
        """Look once: at the lock first, so that what a runner has written by its end is seen as its last word.

        Raises:
            BadInput: a file of the run is damaged.
        """
        runner, now_seconds = self.folder.runner(), time.time()
        memory = read_memory(self.folder) or Memory(JobState(self.job.metadata.uid), {})
        memory = replace(memory, state=self._with_all(memory.state))
        result = read_result(self.folder) if self.folder.result.exists() else None
        events = tuple(read_events(self.folder).known)
        phase = _phase(runner, memory.state)
        table, aggregator = self._ask() if runner else (None, "not running")
        wish = read_wish(self.folder)
        stop_after_cycle = wish.stop_after_cycle if wish else self.job.spec.stop_after_cycle
        return Sight(
            folder=self.folder,
            job=self.job,
            phase=phase,
            runner=runner,
            was_killed=runner is None and _left_without_a_word(events),
            memory=memory,
            table=table or memory.table,
            aggregator=aggregator,
            result=result,
            stop_after_cycle=stop_after_cycle,
            picture=self._picture(memory, table, phase, now_seconds, stop_after_cycle),
            events=events,
        )

    def _with_all(self, state: JobState) -> JobState:
        return replace(state, students={name: state.students.get(name, StudentState()) for name in self.names})

    def _ask(self) -> tuple[RoundTable | None, str]:
        try:
            return scrape(self.folder.http_address, self.job.metadata.uid).table, "ready"
        except Unreadable as error:
            return None, str(error)

    def _picture(
        self,
        memory: Memory,
        table: RoundTable | None,
        phase: RunPhase,
        now_seconds: float,
        stop_after_cycle: int | None,
    ) -> Picture:
        if phase is not RunPhase.RUNNING:  # time stood still when the last runner left
            now_seconds = max(memory.alive_seconds or 0.0, memory.state.active_since_seconds or 0.0)
        if self._painter is None:
            self._painter = Painter(self.job, now_seconds - active_seconds(memory.state, now_seconds))
        picture = self._painter.picture(memory.state, table or memory.table, now_seconds, stop_after_cycle)
        if phase is RunPhase.RUNNING:
            return picture
        rows = tuple(
            row if row.doing in _OVER else replace(row, doing="Stopped", eta_seconds=None) for row in picture.rows
        )
        return replace(picture, rows=rows)


def _phase(runner: str | None, state: JobState) -> RunPhase:
    if runner is not None:
        return RunPhase.RUNNING
    if state.outcome is None:
        return RunPhase.STOPPED
    return RunPhase.FINISHED if state.outcome.kind == "Complete" else RunPhase.FAILED


def _left_without_a_word(events: tuple[RunEvent, ...]) -> bool:
    said = [event.reason for event in events if event.reason in (RunReason.RUNNER_STARTED, RunReason.RUNNER_STOPPED)]
    return said[-1:] == [RunReason.RUNNER_STARTED]
