"""What there is to show of a run at one moment; the live table and the plain lines are made of the same rows."""

from dataclasses import dataclass

from distilljob_core.lifecycle.model import JobState, Standing, StudentState
from distilljob_core.round_table import RoundTable, StudentView
from distilljob_core.spec.job import DistillJob


@dataclass(frozen=True, slots=True)
class Row:
    """One student."""

    name: str
    doing: str
    """A phase of the protocol, or what keeps it from having one."""
    attempt: int
    cycle: int
    epoch: float
    planned_epochs: int
    loss: float | None
    accuracy: float | None
    """On the test set."""
    samples_per_second: float
    eta_seconds: float | None

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
    elapsed_seconds: float
    restarts: int
    rows: tuple[Row, ...]

    @property
    def eta_seconds(self) -> float | None:
        """Until the slowest student is through, as far as anybody can tell."""
        known = [row.eta_seconds for row in self.rows if row.eta_seconds is not None]
        return max(known, default=None)


class Painter:
    """Makes pictures; remembers where each student was first seen, to tell its pace."""

    def __init__(self, job: DistillJob, now_seconds: float) -> None:
        self._job = job
        self._began_seconds = now_seconds
        self._first: dict[tuple[str, int], tuple[float, float]] = {}
        self._table: RoundTable | None = None

    def picture(self, state: JobState, table: RoundTable | None, now_seconds: float) -> Picture:
        """Show a state and the newest round table that could be read."""
        self._table = table or self._table
        views = {view.name: view for view in self._table.students} if self._table else {}
        closed = [close.cycle for close in self._table.closes if close.split == "train"] if self._table else []
        cycles = self._job.spec.method.cycles
        return Picture(
            job=self._job.metadata.name,
            method=self._job.spec.method.name,
            cycle=min(cycles, max(closed, default=0) + 1),
            cycles=cycles,
            elapsed_seconds=now_seconds - self._began_seconds,
            restarts=sum(student.restarts.total for student in state.students.values()),
            rows=tuple(
                self._row(name, student, views.get(name), now_seconds) for name, student in state.students.items()
            ),
        )

    def _row(self, name: str, student: StudentState, view: StudentView | None, now_seconds: float) -> Row:
        if view is None or not view.ever_joined:
            return Row(name, doing(student, None, now_seconds), student.attempt, 0, 0.0, 0, None, None, 0.0, None)
        return Row(
            name=name,
            doing=doing(student, view, now_seconds),
            attempt=student.attempt,
            cycle=view.cycle,
            epoch=view.epoch if view.summary is None else view.summary.epochs,
            planned_epochs=view.planned_epochs if view.summary is None else view.summary.epochs,
            loss=view.loss,
            accuracy=view.accuracy.get("test") if view.summary is None else view.summary.accuracy.last,
            samples_per_second=view.samples_per_second if view.summary is None else 0.0,
            eta_seconds=self._eta(view, now_seconds),
        )

    def _eta(self, view: StudentView, now_seconds: float) -> float | None:
        began_seconds, began_epoch = self._first.setdefault((view.name, view.attempt), (now_seconds, view.epoch))
        covered, left = view.epoch - began_epoch, view.planned_epochs - view.epoch
        if covered <= 0 or left <= 0 or view.summary is not None:
            return None
        return left * (now_seconds - began_seconds) / covered


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
