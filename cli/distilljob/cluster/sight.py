"""One look at a job in a cluster: its resource, its aggregator's round table, and what `status` and `top` need."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from distilljob.cluster.access import Cluster
from distilljob.cluster.happened import read_events
from distilljob.cluster.jobs import Known, fetch, read_known
from distilljob.cluster.place import Place
from distilljob.cluster.table import TableLook, look_at_table
from distilljob.console import in_percent
from distilljob.errors import CommandError, NotFound
from distilljob.local.picture import Painter, Picture, Row
from distilljob.run_directory.events import RunEvent
from distilljob_core.conditions import Reason
from distilljob_core.lifecycle.deadlines import active_seconds
from distilljob_core.lifecycle.model import EndReason, JobState, Outcome, Standing
from distilljob_core.round_table import RoundTable
from distilljob_core.status import DistillJobStatus, ShownStudent

EVENTS_SECONDS: Final = 5.0
"""How often `top` asks for events: that is a list of the whole namespace's."""
_STYLES: Final = {"Training": "cyan", "Complete": "green", "Failed": "red", "Invalid": "red"}
ADVICE: Final[dict[str, str]] = {
    Reason.BUDGET_EXHAUSTED: "cure what the log shows, or raise failurePolicy.maxRestartsPerStudent",
    Reason.FATAL_SPEC: "change the file; networks of your own must be importable in the pods' image",
    Reason.FATAL_DATA: "put the dataset in order, or mount the right volume",
    Reason.FATAL_MISMATCH: "give every student the same data and the same image",
    Reason.FATAL_DEVICE: "choose another training.precision, or other nodes",
    Reason.STUDENT_DIVERGED: "lower training.optimizer.learningRate or set training.clipNorm",
    Reason.STARTUP_DEADLINE_EXCEEDED: "free some GPUs, ask for fewer, or raise startupDeadlineSeconds",
    Reason.DEADLINE_EXCEEDED: "raise activeDeadlineSeconds",
    Reason.QUORUM_LOST: "lower quorum.minimumStudents or cure the students",
    Reason.AGGREGATOR_STATE_LOST: "find out what became of the aggregator's volume",
}


@dataclass(frozen=True, slots=True)
class ClusterSight:
    """What is seen of a job at one moment."""

    known: Known
    place: Place
    namespace: str
    picture: Picture
    table: RoundTable | None
    aggregator: str
    events: Sequence[RunEvent]

    @property
    def state(self) -> JobState:
        """What the status says."""
        return self.known.state

    @property
    def stop_after_cycle(self) -> int | None:
        """Where an early end was asked for."""
        return self.known.job.spec.stop_after_cycle

    @property
    def is_live(self) -> bool:
        """Whether it has not ended."""
        return not self.known.has_ended

    @property
    def phase_word(self) -> str:
        """The phase of its status."""
        return self.known.status.phase

    @property
    def phase_style(self) -> str:
        """The color of that word."""
        return _STYLES.get(self.phase_word, "yellow")

    @property
    def about(self) -> str:
        """Say where it is."""
        return f" (namespace {self.namespace})"

    @property
    def verdict(self) -> str:
        """What came out of it; empty before the end."""
        result = self.known.status.result
        if result is None:
            return ""
        ensemble = f", the ensemble {in_percent(result.ensemble_accuracy)} %" if result.ensemble_accuracy else ""
        gain = f"; the last teacher was worth {100 * result.teacher_gain:+.2f} points" if result.teacher_gain else ""
        best = f"best student: {result.best_student}, {in_percent(result.accuracy)} %"
        exact = "" if result.exact else "; not exact: some students missed a cycle, or took part under other numerics"
        return f"{best}{ensemble}{gain}{exact}"

    @property
    def origin(self) -> dict[str, Any]:
        """Where it runs, for programs."""
        return {"namespace": self.namespace, "uid": self.known.uid}

    @property
    def advice(self) -> list[str]:
        """What to do next, then the commands that do it."""
        status, outcome = self.known.status, self.state.outcome
        if outcome is not None and outcome.kind == "Complete":
            claim = status.result.volume_claim_name if status.result else ""
            where = f"the weights are in the claim {claim}; delete the job once you have them"
            return [where if claim else "free what it still holds", self._command("delete")]
        if outcome is not None:
            cure = ADVICE.get(outcome.reason, "read what the students said last")
            return [f"{cure}; delete it and submit it anew", self._blamed(outcome), self._command("delete")]
        if status.phase == "Invalid":
            return ["cure the spec, and submit it again", self.place.command("submit", "FILE")]
        if self.known.job.spec.suspend:
            return ["let it go on", self._command("resume")]
        if status.observed_generation == 0:
            return ["no operator has looked at it yet: is one installed that watches this namespace?"]
        if failed := self._failed_attempt:
            name, attempt = failed
            what = f"read what {name} said last; its next attempt comes by itself"
            return [what, self._command("logs", name, "--attempt", str(attempt)), self._command("top")]
        return ["watch it, or end it early and well", self._command("top"), self._command("finish")]

    @property
    def _failed_attempt(self) -> tuple[str, int] | None:
        """Name a student, and its attempt, that failed and has no successor yet."""
        for name, student in self.state.students.items():
            is_hung = student.ending is not None and student.ending.reason is EndReason.HANG
            if is_hung or (student.standing is Standing.IDLE and student.backoff_until_seconds is not None):
                return name, student.attempt
        return None

    def _command(self, verb: str, *words: str) -> str:
        return self.place.command(verb, self.known.name, *words)

    def _blamed(self, outcome: Outcome) -> str:
        """Give the command that shows the log of whoever ended last, or of the student that the outcome names."""
        ends = {name: end for name, student in self.state.students.items() if (end := student.last_termination)}
        if not ends:
            return self._command("logs", "aggregator")
        name = max(ends, key=lambda one: (f"student {one}:" in outcome.message, ends[one].time_seconds))
        return self._command("logs", name, "--attempt", str(ends[name].attempt))


class ClusterWatcher:
    """Looks at one job, as often as anybody likes; what cannot be read now stays as it was seen last."""

    def __init__(self, cluster: Cluster, name: str, place: Place, *, with_events: bool = False) -> None:
        self._cluster = cluster
        self._name = name
        self._place = place
        self._with_events = with_events
        self._events: Sequence[RunEvent] = ()
        self._events_seconds = 0.0
        self._table: RoundTable | None = None
        self._last: ClusterSight | None = None

    def look(self) -> ClusterSight:
        """Look once.

        Raises:
            NotFound: there is no such job, or no longer.
            CommandError: the API server refused or failed, at the first look.
        """
        try:
            self._last = self._cluster.run(self._look())
        except NotFound:
            raise
        except CommandError as error:
            if self._last is None:
                raise
            reason = error.problems[0].message if error.problems else error.title
            self._last = replace(self._last, aggregator=f"unknown, {reason}")
        return self._last

    async def _look(self) -> ClusterSight:
        known = read_known(await fetch(self._cluster, self._name))
        has_aggregator = known.state.started_seconds is not None and not known.has_ended
        seen = await look_at_table(self._cluster, known.uid) if has_aggregator else TableLook(None, "not running")
        self._table = seen.table or self._table
        now_seconds = time.time()
        if self._with_events and now_seconds >= self._events_seconds + EVENTS_SECONDS:
            self._events = await read_events(self._cluster, known.uid)
            self._events_seconds = now_seconds
        return ClusterSight(
            known=known,
            place=self._place,
            namespace=self._cluster.namespace,
            picture=_picture(known, self._table, now_seconds),
            table=self._table,
            aggregator=seen.aggregator,
            events=self._events,
        )


def _picture(known: Known, table: RoundTable | None, now_seconds: float) -> Picture:
    state = known.state
    painter = Painter(known.job, now_seconds - active_seconds(state, now_seconds))
    picture = painter.picture(state, table, now_seconds, known.job.spec.stop_after_cycle)
    return picture if table else with_status(picture, known.status, state)


def with_status(picture: Picture, status: DistillJobStatus, state: JobState) -> Picture:
    """Fill in from the status what a table would say better."""
    told = {student.name: student for student in status.students}
    rows = tuple(
        _row(row, told[row.name], is_idle=state.students[row.name].standing is Standing.IDLE)
        if row.name in told
        else row
        for row in picture.rows
    )
    return replace(picture, cycle=status.cycle or picture.cycle, rows=rows)


def _row(row: Row, shown: ShownStudent, *, is_idle: bool) -> Row:
    """The status has accuracies on the hold-out, but for those who are done."""
    accuracy = shown.accuracy if shown.phase == "Finished" else None
    return replace(row, doing=row.doing if is_idle else shown.phase, cycle=shown.cycle, accuracy=accuracy)
