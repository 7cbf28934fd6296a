"""What there is to show of a run at one moment; the live table and the plain lines are made of the same rows."""

from dataclasses import dataclass, field

from distilljob_core.lifecycle.deadlines import active_seconds
from distilljob_core.lifecycle.model import JobState, Restarts, Standing, StudentState
from distilljob_core.outlook import BACK_OFF, doing, open_cycle, seconds_left
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
        if any(row.planned_epochs == 0 and row.doing != Standing.DROPPED for row in self.rows):
            return None
        known = [row.eta_seconds for row in self.rows if row.eta_seconds is not None]
        return max(known, default=None)


class Painter:
    """Makes pictures; remembers the newest table that could be read."""

    def __init__(self, job: DistillJob, began_seconds: float) -> None:
        self._job = job
        self._began_seconds = began_seconds
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
            rows=tuple(self._row(name, state, views.get(name), now_seconds) for name in state.students),
        )

    def _row(self, name: str, state: JobState, view: StudentView | None, now_seconds: float) -> Row:
        student = state.students[name]
        if view is None or not view.ever_joined or self._table is None:
            return Row(name, _word(student, None, now_seconds), student.attempt, student.restarts)
        summary, is_current = view.summary, view.attempt >= student.attempt
        return Row(
            name=name,
            doing=_word(student, view, now_seconds),
            attempt=student.attempt,
            restarts=student.restarts,
            cycle=view.cycle,
            epoch=view.epoch if summary is None else summary.epochs,
            planned_epochs=view.planned_epochs if summary is None else summary.epochs,
            loss=view.loss,
            accuracy=view.accuracy.get("test") if summary is None else summary.accuracy.last,
            samples_per_second=view.samples_per_second if summary is None and is_current else 0.0,
            eta_seconds=_eta_seconds(view, active_seconds(state, now_seconds)) if is_current else None,
            rows_durable=view.rows_durable,
            rows_total=view.rows_total,
            barrier_seconds=view.barrier_seconds,
            silent_seconds=_age_seconds(self._table, view) if is_current else None,
        )


def _eta_seconds(view: StudentView, active_seconds: float) -> float | None:
    return seconds_left(view, view.planned_epochs, active_seconds) or None


def _age_seconds(table: RoundTable, view: StudentView) -> float | None:
    """Age of the last progress on the aggregator's clock; 0 there means that it has heard of none."""
    if not view.last_progress_timestamp_seconds or view.summary is not None:
        return None
    return max(0.0, table.clock_timestamp_seconds - view.last_progress_timestamp_seconds)


def _word(student: StudentState, view: StudentView | None, now_seconds: float) -> str:
    word = doing(student, view, now_seconds)
    if word != BACK_OFF:
        return word
    return f"Back-off {(student.backoff_until_seconds or now_seconds) - now_seconds:.0f}s"
