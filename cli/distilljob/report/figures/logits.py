"""How far each network's logits reach, by cycle: why one temperature does not mean the same to all (table 4)."""

from typing import Final

from matplotlib.axes import Axes

from distilljob.report.cast import Cast
from distilljob.report.figures.phases import axis_of_cycles
from distilljob.report.picture import Picture, Table, line_key
from distilljob.report.run import Run, Student
from distilljob.report.svg import draw
from distilljob.report.words import number
from distilljob_core.measurements import LogitsMeasured

ALIKE: Final = 1.1


def logits(run: Run, cast: Cast, name: str) -> Picture | None:
    """Draw the smallest to the largest logit of each student that is shown; None before the first label pass."""
    shown = [student for student in cast.stand_ins(run) if student.of(LogitsMeasured)]
    if not shown:
        return None

    def paint(axes: Axes) -> None:
        for index, student in enumerate(shown):
            offset = 0.5 * ((index + 0.5) / len(shown) - 0.5)
            measured, look = student.of(LogitsMeasured), cast.looks[student.name]
            at = [one.cycle + offset for one in measured]
            low, high = [one.smallest for one in measured], [one.largest for one in measured]
            axes.vlines(at, low, high, **{**look.line(), "linewidth": 2.2})
            axes.plot(at, low, "_", at, high, "_", color=look.color, markersize=6)
        axis_of_cycles(axes, max(student.of(LogitsMeasured)[-1].cycle for student in shown))
        axes.grid(False, axis="x")
        axes.set_ylabel("logit")

    title = _title(run)
    return Picture(
        name=name,
        title=title,
        svg=draw(name, f"Range of logits by cycle and student. {title}", paint),
        caption="Smallest to largest logit on the hold-out, when the network labels a cycle. One temperature softens a "
        "wide range less than a narrow one, so it means different things to different networks.",
        table=_table(run),
        keys=tuple(line_key(cast.title(run, student.name), cast.looks[student.name]) for student in shown),
    )


def _title(run: Run) -> str:
    last = {student.name: measured[-1] for student in run.students if (measured := student.of(LogitsMeasured))}
    wide = max(last, key=lambda name: last[name].mean_range)
    narrow = min(last, key=lambda name: last[name].mean_range)
    if len(last) == 1 or not last[narrow].mean_range:
        return f"{wide}'s logits span {number(last[wide].mean_range)} on average at cycle {last[wide].cycle}"
    ratio = last[wide].mean_range / last[narrow].mean_range
    if ratio < ALIKE:
        ranges = f"{number(last[narrow].mean_range)} to {number(last[wide].mean_range)}"
        return f"All logits span about the same at cycle {last[wide].cycle}: {ranges} on average"
    return f"{wide}'s logits span {ratio:.1f} times as much as {narrow}'s at cycle {last[wide].cycle}"


def _table(run: Run) -> Table:
    rows = [_row(student, one) for student in run.students for one in student.of(LogitsMeasured)]
    return Table.of(("student", "cycle", "smallest", "largest", "mean range of a sample"), rows)


def _row(student: Student, one: LogitsMeasured) -> tuple[str, ...]:
    return student.name, str(one.cycle), number(one.smallest), number(one.largest), number(one.mean_range)
