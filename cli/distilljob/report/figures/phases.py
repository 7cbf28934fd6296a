"""What all figures over epochs share: the shaded phases, the axis, the table."""

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Final

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from distilljob.report.cast import Cast
from distilljob.report.picture import Key, Table, css, line_key
from distilljob.report.run import Run, Student, stretches
from distilljob.report.style import MUTED, SHADE
from distilljob.report.words import percent
from distilljob_core.measurements import EpochMeasured

Value = Callable[[EpochMeasured], float | None]
"""Picks what a figure shows; None = a gap."""

MANY_CYCLES: Final = 12


def plot_epochs(axes: Axes, run: Run, cast: Cast, value: Value) -> None:
    """Draw a line for every student over shaded phases."""
    shade_phases(axes, run)
    for student in run.students:
        epochs = student.of(EpochMeasured)
        numbers = [epoch.epoch for epoch in epochs]
        values = [float("nan") if (shown := value(epoch)) is None else shown for epoch in epochs]
        marker = "o" if len(epochs) == 1 else ""
        axes.plot(numbers, values, **cast.looks[student.name].line(), marker=marker)
    axes.set_xlabel("epoch")
    axes.set_xlim(0, max(1, *(student.of(EpochMeasured)[-1].epoch for student in with_epochs(run))))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def shade_phases(axes: Axes, run: Run) -> None:
    """Shade the epochs with a teacher and number the cycles."""
    phases = stretches(run)
    for phase in phases:
        if phase.stage == "Distill" and run.has_teacher:
            axes.axvspan(phase.first_epoch - 1, phase.last_epoch, facecolor=SHADE, zorder=0)
    cycles = [(cycle, list(group)) for cycle, group in groupby(phases, key=lambda phase: phase.cycle)]
    for cycle, group in cycles if len(cycles) <= MANY_CYCLES else ():
        middle = (group[0].first_epoch - 1 + group[-1].last_epoch) / 2
        text = f"cycle {cycle}" if len(cycles) <= 4 else str(cycle)
        axes.text(middle, 1.01, text, transform=axes.get_xaxis_transform(), ha="center", va="bottom", color=MUTED)


def axis_of_cycles(axes: Axes, last: int) -> None:
    """Number the cycles along the lower axis."""
    axes.set_xlabel("cycle")
    axes.set_xlim(0.5, last + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))


def axis_of_accuracy(axes: Axes, values: Sequence[float]) -> None:
    """Cut the axis so that the first steep epochs do not flatten the rest; nothing is above 100 %."""
    axes.set_ylim(100 * _bottom(values), min(100.5, axes.get_ylim()[1]))
    axes.set_ylabel("test accuracy, %")


def told_cut(values: Sequence[float]) -> str:
    """Say where the axis begins and what lies below, if anything does."""
    low, bottom = min(values), _bottom(values)
    return f" The axis begins at {percent(bottom)}; the lowest value is {percent(low)}." if low < bottom else ""


def _bottom(values: Sequence[float]) -> float:
    """Begin a tenth of the range below the twentieth part of all values."""
    ranked = sorted(values)
    low = ranked[len(ranked) // 20]
    return max(0.0, low - 0.1 * (ranked[-1] - low))


def epoch_keys(run: Run, cast: Cast) -> tuple[Key, ...]:
    """Make the legend of a figure over epochs."""
    keys = [line_key(cast.title(run, student.name), cast.looks[student.name]) for student in cast.loud(run)]
    if len(keys) < len(run.students):
        keys.append(Key(f"the other {len(run.students) - len(keys)}", css(MUTED)))
    if run.has_teacher:
        keys.append(Key("Distill phase", css(SHADE), kind="patch"))
    return tuple(keys)


def epoch_table(run: Run, value: Value, text: Callable[[float | None], str]) -> Table:
    """Lay out a figure over epochs as a table, a column for each student."""
    by_student = [{epoch.epoch: epoch for epoch in student.of(EpochMeasured)} for student in run.students]
    rows = []
    for phase in stretches(run):
        for epoch in range(phase.first_epoch, phase.last_epoch + 1):
            found = [epochs.get(epoch) for epochs in by_student]
            rows.append([str(epoch), f"{phase.cycle} {phase.stage}", *_cells(found, value, text)])
    return Table.of(["epoch", "phase", *(student.name for student in run.students)], rows)


def _cells(found: Iterable[EpochMeasured | None], value: Value, text: Callable[[float | None], str]) -> list[str]:
    return ["–" if epoch is None else text(value(epoch)) for epoch in found]


def with_epochs(run: Run) -> list[Student]:
    """List the students that have finished at least one epoch."""
    return [student for student in run.students if student.of(EpochMeasured)]
