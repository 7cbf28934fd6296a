"""Several runs in one figure: what they have in common, a line style for each run."""

from collections.abc import Iterator, Sequence

from matplotlib.axes import Axes

from distilljob.report.cast import Cast
from distilljob.report.figures.phases import axis_of_accuracy, axis_of_cycles, told_cut
from distilljob.report.picture import Picture, Table, line_key
from distilljob.report.run import Run
from distilljob.report.style import DASHES, INK, MUTED, Look
from distilljob.report.svg import draw
from distilljob.report.words import listed, percent, points
from distilljob_core.measurements import EpochMeasured


def overlays(runs: Sequence[Run], cast: Cast) -> list[Picture]:
    """Draw the gain of all runs, and each student that several runs have."""
    return [*_gains(runs), *_accuracies(runs, cast)]


def _style(index: int, color: str) -> Look:
    return Look(color, DASHES[index % len(DASHES)])


def _gains(runs: Sequence[Run]) -> Iterator[Picture]:
    found = {index: cycles for index, run in enumerate(runs) if (cycles := run.cycles())}
    if len(found) < 2:
        return
    last = max(cycle.cycle for cycles in found.values() for cycle in cycles)

    def paint(axes: Axes) -> None:
        axes.axhline(0, color=MUTED, linewidth=1.0)
        for index, cycles in found.items():
            numbers = [cycle.cycle for cycle in cycles]
            axes.plot(numbers, [100 * cycle.teacher_gain for cycle in cycles], marker="o", **_style(index, INK).line())
        axis_of_cycles(axes, last)
        axes.set_ylabel("gain, percentage points")

    ends = [f"{points(cycles[-1].teacher_gain)} ({runs[index].label})" for index, cycles in found.items()]
    title = f"Teacher gain at the last cycle: {listed(ends)}"
    by_run = {index: {cycle.cycle: points(cycle.teacher_gain) for cycle in cycles} for index, cycles in found.items()}
    yield Picture(
        name="overlay--gain",
        title=title,
        svg=draw("overlay--gain", f"Teacher gain by cycle and run. {title}", paint),
        caption="Hold-out accuracy of the cycle's teacher minus that of its best student, in each run.",
        table=Table.of(
            ("cycle", *(runs[index].label for index in by_run)),
            [(str(n), *(gains.get(n, "–") for gains in by_run.values())) for n in range(1, last + 1)],
        ),
        keys=tuple(line_key(runs[index].label, _style(index, INK)) for index in found),
    )


def _accuracies(runs: Sequence[Run], cast: Cast) -> Iterator[Picture]:
    for name, look in cast.looks.items():
        found = {
            index: epochs
            for index, run in enumerate(runs)
            for student in run.students
            if student.name == name and (epochs := student.of(EpochMeasured))
        }
        if len(found) > 1 and not look.is_quiet:
            yield _accuracy(runs, name, look.color, found, f"overlay-{name}")


def _accuracy(
    runs: Sequence[Run], student: str, color: str, found: dict[int, list[EpochMeasured]], name: str
) -> Picture:
    values = [epoch.test_accuracy for epochs in found.values() for epoch in epochs]

    def paint(axes: Axes) -> None:
        for index, epochs in found.items():
            line = _style(index, color).line()
            axes.plot([epoch.epoch for epoch in epochs], [100 * epoch.test_accuracy for epoch in epochs], **line)
        axes.set_xlim(left=0)
        axes.set_xlabel("epoch")
        axis_of_accuracy(axes, values)

    ends = [f"{percent(epochs[-1].test_accuracy)} ({runs[index].label})" for index, epochs in found.items()]
    title = f"{student} ends at {listed(ends)}"
    by_run = {index: {epoch.epoch: epoch.test_accuracy for epoch in epochs} for index, epochs in found.items()}
    last = max(epochs[-1].epoch for epochs in found.values())
    rows = [(str(n), *(percent(track.get(n)) for track in by_run.values())) for n in range(1, last + 1)]
    return Picture(
        name=name,
        title=title,
        svg=draw(name, f"Test accuracy of {student} per epoch and run. {title}", paint),
        caption=f"Test accuracy of {student} after every epoch, in each run that has such a student.{told_cut(values)}",
        table=Table.of(("epoch", *(runs[index].label for index in by_run)), rows),
        keys=tuple(line_key(runs[index].label, _style(index, color)) for index in found),
    )
