"""What there is to show of a run at one moment; the live table and the plain lines are made of the same rows."""

from dataclasses import dataclass, field

from distilljob_core.lifecycle.model import JobState, Restarts, Standing, StudentState
from distilljob_core.round_table import RoundTable, StudentView
from distilljob_core.spec.job import DistillJob


@dataclass(frozen=True, slots=True)
class Row:
    """One student."""

    name: str
    doing: str
    """A phase of the protocol, or what keeps it from having one."""
    attempt: int
    restarts: Restarts = field(default_factory=Restarts)
    cycle: int = 0
    epoch: float = 0.0
    planned_epochs: int = 0
    loss: float | None = None
    accuracy: float | None = None
    """On the test set."""
    samples_per_second: float = 0.0
    eta_seconds: float | None = None
    rows_durable: int = 0
    """Rows of the open round that the aggregator has on disk."""
    rows_total: int = 0
    barrier_seconds: float = 0.0
    """Waited for the others so far."""
    silent_seconds: float | None = None
    """Since its last sign of progress, when the table was made; None = it has not joined, or has finished."""

    @property
    def done(self) -> float:
        """Share of the planned epochs."""
        return min(1.0, self.epoch / self.planned_epochs) if self.planned_epochs else 0.0


@dataclass(frozen=True, slots=True)
class Picture:
    """The whole run."""

    job: str
    method: str
    cycle: int
    cycles: int
    stop_after_cycle: int | None
    """Where somebody asked for an early end; None = nobody did."""
    elapsed_seconds: float
    restarts: int
    rows: tuple[Row, ...]

    @property
    def eta_seconds(self) -> float | None:
        """Until the slowest student is through, as far as anybody can tell."""
        known = [row.eta_seconds for row in self.rows if row.eta_seconds is not None]
        return max(known, default=None)


class Painter:
    """Makes pictures; remembers where each student's attempt was first seen, to tell its pace."""

    def __init__(self, job: DistillJob, began_seconds: float) -> None:
        self._job = job
        self._began_seconds = began_seconds
        self._first: dict[str, tuple[int, float, float]] = {}
        self._table: RoundTable | None = None

    def picture(
        self, state: JobState, table: RoundTable | None, now_seconds: float, stop_after_cycle: int | None = None
    ) -> Picture:
        """Show a state and the newest round table that could be read."""
        self._table = table or self._table
        views = {view.name: view for view in self._table.students} if self._table else {}
        cycles = self._job.spec.method.cycles
        return Picture(
            job=self._job.metadata.name,
            method=self._job.spec.method.name,
            cycle=open_cycle(self._table, cycles),
            cycles=cycles,
            stop_after_cycle=stop_after_cycle,
            elapsed_seconds=now_seconds - self._began_seconds,
            restarts=sum(student.restarts.total for student in state.students.values()),
            rows=tuple(
                self._row(name, student, views.get(name), now_seconds) for name, student in state.students.items()
            ),
        )

    def _row(self, name: str, student: StudentState, view: StudentView | None, now_seconds: float) -> Row:
        if view is None or not view.ever_joined or self._table is None:
            return Row(name, doing(student, None, now_seconds), student.attempt, student.restarts)
        summary, is_current = view.summary, view.attempt >= student.attempt
        return Row(
            name=name,
            doing=doing(student, view, now_seconds),
            attempt=student.attempt,
            restarts=student.restarts,
            cycle=view.cycle,
            epoch=view.epoch if summary is None else summary.epochs,
            planned_epochs=view.planned_epochs if summary is None else summary.epochs,
            loss=view.loss,
            accuracy=view.accuracy.get("test") if summary is None else summary.accuracy.last,
            samples_per_second=view.samples_per_second if summary is None and is_current else 0.0,
            eta_seconds=self._eta(view, now_seconds) if is_current else None,
            rows_durable=view.rows_durable,
            rows_total=view.rows_total,
            barrier_seconds=view.barrier_seconds,
            silent_seconds=_age_seconds(self._table, view) if is_current else None,
        )

    def _eta(self, view: StudentView, now_seconds: float) -> float | None:
        first = self._first.get(view.name)
        if first is None or first[0] != view.attempt:
            first = self._first[view.name] = (view.attempt, now_seconds, view.epoch)
        _, began_seconds, began_epoch = first
        covered, left = view.epoch - began_epoch, view.planned_epochs - view.epoch
        if covered <= 0 or left <= 0 or view.summary is not None:
            return None
        return left * (now_seconds - began_seconds) / covered


def open_cycle(table: RoundTable | None, cycles: int) -> int:
    """Number the training cycle that is open, or the last one there was."""
    closes = [close for close in table.closes if close.split == "train"] if table else []
    if not closes:
        return 1
    return closes[-1].cycle if closes[-1].last else min(cycles, closes[-1].cycle + 1)


def _age_seconds(table: RoundTable, view: StudentView) -> float | None:
    """Age of the last progress on the aggregator's clock; 0 there means that it has heard of none."""
    if not view.last_progress_timestamp_seconds or view.summary is not None:
        return None
    return max(0.0, table.clock_timestamp_seconds - view.last_progress_timestamp_seconds)


def doing(student: StudentState, view: StudentView | None, now_seconds: float) -> str:
    """Say in a word what a student does."""
    if student.standing is Standing.DONE:
        return "Finished"
    if student.standing is Standing.IDLE:
        wait_seconds = (student.backoff_until_seconds or now_seconds) - now_seconds
        return f"Back-off {wait_seconds:.0f}s" if wait_seconds > 0 else "Queued"
    if student.standing is not Standing.LIVE:
        return student.standing.value
    if student.ending is not None and student.ending.attempt == student.attempt:
        return "Ending"
    if view is None or view.attempt < student.attempt:
        return "Starting"
    return view.phase.value
