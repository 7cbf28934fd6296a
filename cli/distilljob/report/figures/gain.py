"""What the teacher of each cycle was worth, and equation 7."""

from matplotlib.axes import Axes

from distilljob.report.figures.phases import axis_of_cycles
from distilljob.report.picture import Key, Picture, Table, css
from distilljob.report.run import Run
from distilljob.report.style import INK, MUTED
from distilljob.report.svg import draw
from distilljob.report.words import counted, listed, nats, percent, points
from distilljob_core.measurements import CycleMeasured


def gain(run: Run, name: str) -> Picture | None:
    """Draw the teacher's gain by cycle around the zero line; None before the first cycle's close."""
    cycles = run.cycles()
    if not cycles:
        return None
    numbers = [cycle.cycle for cycle in cycles]
    gains = [100 * cycle.teacher_gain for cycle in cycles]

    def paint(axes: Axes) -> None:
        axes.axhline(0, color=MUTED, linewidth=1.0, zorder=2)
        axes.vlines(numbers, 0, gains, color=INK, linewidth=2.0, zorder=2.5)
        axes.plot(numbers, gains, "o", color=INK, markersize=6, zorder=3)
        for cycle, value in zip(numbers, gains, strict=True) if len(cycles) <= 10 else ():
            offset = (0, 6 if value >= 0 else -6)
            axes.annotate(
                points(value / 100),
                (cycle, value),
                offset,
                textcoords="offset points",
                ha="center",
                va="bottom" if value >= 0 else "top",
            )
        axes.margins(y=0.18)
        axis_of_cycles(axes, numbers[-1])
        axes.grid(False, axis="x")
        axes.set_ylabel("gain, percentage points")

    title = _title(cycles)
    return Picture(
        name=name,
        title=title,
        svg=draw(name, f"Teacher gain by cycle. {title}", paint),
        caption="Hold-out accuracy of the cycle's teacher minus that of its best student. Above zero the teacher knows "
        f"more than any of its students. {_equation_7(cycles)}",
        table=_table(run, cycles),
        keys=(Key("teacher minus best student", css(INK), kind="dot"),),
    )


def _title(cycles: list[CycleMeasured]) -> str:
    ahead = sum(cycle.teacher_gain > 0 for cycle in cycles)
    level = sum(cycle.teacher_gain == 0 for cycle in cycles)
    tail = f" and is level in {level}" if level else ""
    return f"The teacher beats its best student in {ahead} of {counted(len(cycles), 'cycle')}{tail}"


def _equation_7(cycles: list[CycleMeasured]) -> str:
    broken = [str(cycle.cycle) for cycle in cycles if not _holds(cycle)]
    if broken:
        return (
            f"The teacher's cross-entropy is above its students' weighted mean in cycle {listed(broken)} (equation 7)."
        )
    return "In every cycle its cross-entropy is at most its students' weighted mean, as equation 7 says."


def _holds(cycle: CycleMeasured) -> bool:
    return cycle.teacher_cross_entropy <= cycle.mean_cross_entropy + 1e-3


def _table(run: Run, cycles: list[CycleMeasured]) -> Table:
    columns = (
        "cycle",
        "teacher",
        "best student",
        "gain, points",
        "teacher's cross-entropy",
        "students' mean",
        "weights",
        "missing",
    )
    return Table.of(
        columns,
        [
            (
                str(cycle.cycle),
                percent(cycle.ensemble_accuracy),
                percent(cycle.best_accuracy),
                points(cycle.teacher_gain),
                nats(cycle.teacher_cross_entropy),
                nats(cycle.mean_cross_entropy),
                _weights(run, cycle.cycle),
                listed(cycle.missing) if cycle.missing else "nobody",
            )
            for cycle in cycles
        ],
    )


def _weights(run: Run, cycle: int) -> str:
    """List the students' weights in one cycle's mean."""
    weights = [
        f"{student.name} {measured.weight}"
        for student in run.students
        for measured in student.of(CycleMeasured)
        if measured.cycle == cycle
    ]
    return listed(weights, limit=8)
