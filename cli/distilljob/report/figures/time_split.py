"""Where each student's time went, barrier waits apart."""

from dataclasses import dataclass
from typing import Any, Final

from matplotlib.axes import Axes

from distilljob.report.cast import Cast
from distilljob.report.picture import Key, Picture, Table, css
from distilljob.report.run import Run, Student
from distilljob.report.style import INK, PAPER, WAIT, WORK
from distilljob.report.svg import draw
from distilljob.report.words import seconds, short
from distilljob_core.phases import StudentPhase

MANY_BARS: Final = 16


@dataclass(frozen=True, slots=True)
class _Activity:
    name: str
    phases: tuple[StudentPhase, ...]
    color: str


_ACTIVITIES: Final = (
    _Activity("Independent training", (StudentPhase.INDEPENDENT,), WORK[0]),
    _Activity("Distilling", (StudentPhase.DISTILLING,), WORK[1]),
    _Activity("evaluation", (StudentPhase.EVALUATING,), WORK[2]),
    _Activity(
        "soft labels",
        (StudentPhase.LABELING, StudentPhase.UPLOADING, StudentPhase.FETCHING, StudentPhase.NEEDS_ROWS),
        WORK[3],
    ),
    _Activity(
        "start, checkpoints, publishing",
        (StudentPhase.STARTING, StudentPhase.CHECKPOINTING, StudentPhase.PUBLISHING),
        WORK[4],
    ),
    _Activity("barrier wait", (StudentPhase.WAITING,), WAIT),
)


def time_split(run: Run, cast: Cast, name: str) -> Picture | None:
    """Draw a stacked bar for each student; None before the run's end."""
    students = [student for student in run.students if student.result]
    if not students:
        return None
    longest = max(students, key=_waited)
    shown = students if len(students) <= MANY_BARS else [s for s in students if s in (*cast.stand_ins(run), longest)]

    def paint(axes: Axes) -> None:
        for row, student in enumerate(shown):
            _paint_bar(axes, row, _spent(student))
        axes.set_yticks(range(len(shown)), [short(student.name) for student in shown])
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.grid(False, axis="y")
        axes.set_xlabel("time, seconds")
        axes.margins(x=0.02)

    title = _title(longest)
    left_out = "" if len(shown) == len(students) else f" Shown are {len(shown)} of {len(students)} students."
    return Picture(
        name=name,
        title=title,
        svg=draw(name, f"Stacked bars of time by activity. {title}", paint, 1.1 + 0.34 * len(shown)),
        caption=f"Seconds over all attempts, as each student counted them; percent of its own time.{left_out}",
        table=_table(students),
        keys=tuple(
            Key(activity.name, css(activity.color), kind="hatch" if activity.color == WAIT else "patch")
            for activity in _ACTIVITIES
        ),
    )


def _title(longest: Student) -> str:
    waited = _waited(longest)
    if not waited:
        return "Nobody waits at a barrier"
    share = waited / sum(_spent(longest))
    return f"{longest.name} waits longest at the barrier: {seconds(waited)}, {100 * share:.1f} % of its time"


def _spent(student: Student) -> list[float]:
    """Give the seconds of each activity."""
    by_phase = student.result.seconds if student.result else {}
    return [sum(by_phase.get(phase.value, 0.0) for phase in activity.phases) for activity in _ACTIVITIES]


def _waited(student: Student) -> float:
    return _spent(student)[-1]


def _paint_bar(axes: Axes, row: int, spent: list[float]) -> None:
    left, total = 0.0, sum(spent) or 1.0
    for activity, width in zip(_ACTIVITIES, spent, strict=True):
        is_wait = activity.color == WAIT
        waits: dict[str, Any] = {"hatch": "////", "edgecolor": WAIT, "facecolor": PAPER, "linewidth": 1.0}
        works: dict[str, Any] = {"facecolor": activity.color}
        axes.barh(row, width, left=left, height=0.62, **(waits if is_wait else works))
        left += width
    axes.annotate(
        f"{100 * spent[-1] / total:.1f} %", (left, row), (4, 0), textcoords="offset points", va="center", color=INK
    )


def _table(students: list[Student]) -> Table:
    rows = []
    for student in students:
        spent = _spent(student)
        total = sum(spent)
        cells = [f"{part:,.1f} s ({part / (total or 1.0):.1%})" for part in spent]
        rows.append((student.name, *cells, f"{total:,.1f} s"))
    return Table.of(["student", *(activity.name for activity in _ACTIVITIES), "all"], rows)
