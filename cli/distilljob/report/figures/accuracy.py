"""Test accuracy per epoch and student, the paper's figure 4."""

from matplotlib.axes import Axes

from distilljob.report.cast import Cast
from distilljob.report.figures.phases import (
    axis_of_accuracy,
    epoch_keys,
    epoch_table,
    plot_epochs,
    told_cut,
    with_epochs,
)
from distilljob.report.picture import Key, Picture, css
from distilljob.report.run import Run, Student
from distilljob.report.style import INK
from distilljob.report.svg import draw
from distilljob.report.words import listed, percent
from distilljob_core.measurements import EpochMeasured


def accuracy(run: Run, cast: Cast, name: str) -> Picture | None:
    """Draw it; None before the first epoch's end."""
    students = with_epochs(run)
    if not students:
        return None
    ensemble = run.result.ensemble if run.result else None
    values = [epoch.test_accuracy for student in students for epoch in student.of(EpochMeasured)]

    def paint(axes: Axes) -> None:
        plot_epochs(axes, run, cast, lambda epoch: 100 * epoch.test_accuracy)
        if ensemble is not None:
            last = max(student.of(EpochMeasured)[-1].epoch for student in students)
            axes.plot([last], [100 * ensemble.accuracy], "D", color=INK, clip_on=False, zorder=4)
        axis_of_accuracy(axes, values)

    keys = epoch_keys(run, cast)
    if ensemble is not None:
        keys += (Key(f"ensemble, {percent(ensemble.accuracy)}", css(INK), kind="marker"),)
    title = lead(students)
    return Picture(
        name=name,
        title=title,
        svg=draw(name, f"Line chart of test accuracy per epoch. {title}", paint),
        caption=f"Test accuracy after every epoch, before any selection.{told_cut(values)}",
        table=epoch_table(run, lambda epoch: epoch.test_accuracy, percent),
        keys=keys,
    )


def lead(students: list[Student]) -> str:
    """Say who is ahead at the newest epoch that all have finished, and since when."""
    tracks = {student.name: [e.test_accuracy for e in student.of(EpochMeasured)] for student in students}
    common = min(map(len, tracks.values()))
    first = next(iter(students)).of(EpochMeasured)[0].epoch
    if len(tracks) == 1:
        ((name, track),) = tracks.items()
        return f"{name} reaches {percent(track[-1])} after epoch {first + common - 1}"
    leaders = [_leaders(tracks, index) for index in range(common)]
    now = leaders[-1]
    value = percent(tracks[now[0]][common - 1])
    if len(now) > 1:
        return f"{listed(now)} are level at epoch {first + common - 1}: {value}"
    since = common - 1
    while since > 0 and leaders[since - 1] == now:
        since -= 1
    if common - since >= max(3, common // 10):
        return f"{now[0]} leads from epoch {first + since} on: {value} after epoch {first + common - 1}"
    return f"{now[0]} is highest after epoch {first + common - 1}, at {value}; the lead changed hands shortly before"


def _leaders(tracks: dict[str, list[float]], index: int) -> list[str]:
    best = max(track[index] for track in tracks.values())
    return [name for name, track in tracks.items() if track[index] == best]
