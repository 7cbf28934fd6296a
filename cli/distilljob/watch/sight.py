"""One look at a local run from outside."""

import time
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from distilljob.job_file import read_job
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
