"""Reliability diagrams: how often a predictor is right when it says how sure it is (Guo et al. 2017)."""

from collections.abc import Iterator, Sequence
from math import sqrt
from typing import Final

from matplotlib.axes import Axes

from distilljob.report.cast import Cast
from distilljob.report.picture import Key, Picture, Table, css
from distilljob.report.run import Run
from distilljob.report.style import INK, MUTED
from distilljob.report.svg import draw
from distilljob.report.words import percent
from distilljob_core.measurements import ReliabilityBin, ReliabilityMeasured

FEW: Final = 10
"""A bin with fewer samples says little."""
LEVEL: Final = 5e-5
"""What is written as 0.00 points."""


def calibration(run: Run, cast: Cast, name: str) -> Iterator[Picture]:
    """Draw one diagram for each student that is shown, and one for the ensemble."""
    for student in cast.stand_ins(run):
        for measured in _last(student.of(ReliabilityMeasured), "student"):
            title = cast.title(run, student.name)
            yield _diagram(title, cast.looks[student.name].color or INK, measured.bins, f"{name}-{student.name}")
    for student in run.students:
        for measured in _last(student.of(ReliabilityMeasured), "ensemble"):
            yield _diagram("The ensemble", INK, measured.bins, f"{name}--ensemble")
            return


def _last(measured: list[ReliabilityMeasured], predictor: str) -> list[ReliabilityMeasured]:
    return [one for one in measured if one.predictor == predictor and any(part.count for part in one.bins)][-1:]


def _diagram(who: str, color: str, bins: Sequence[ReliabilityBin], name: str) -> Picture:
    full = [one for one in bins if one.count]
    total = sum(one.count for one in bins)

    def paint(axes: Axes) -> None:
        axes.plot([0, 100], [0, 100], color=MUTED, linewidth=1.0, zorder=2)
        _paint_counts(axes, bins)
        for one in full:
            x, y, alpha = 100 * one.confidence, 100 * one.accuracy, 1.0 if one.count >= FEW else 0.35
            size = 3.5 + 4.5 * sqrt(one.count / total)
            axes.vlines(x, x, y, color=color, linewidth=1.4, alpha=alpha)
            axes.plot([x], [y], "o", color=color, markersize=size, alpha=alpha, clip_on=False)
        axes.set_xlim(0, 101)
        axes.set_ylim(0, 103)
        axes.set_xlabel("confidence, %")
        axes.set_ylabel("accuracy, %")

    title = _title(who, full, total)
    return Picture(
        name=name,
        title=title,
        svg=draw(name, f"Reliability diagram. {title}", paint),
        caption=f"{total:,} test samples in {len(bins)} bins; points grow with a bin's samples, faint below {FEW}.",
        table=_table(bins),
        keys=(
            Key("accuracy of a bin", css(color), kind="dot"),
            Key("perfect", css(MUTED)),
            Key("samples (log)", css(MUTED), kind="faint"),
        ),
    )


def _paint_counts(axes: Axes, bins: Sequence[ReliabilityBin]) -> None:
    """Draw the samples of each bin behind everything, on an axis of their own that is not shown."""
    width, counts = 100 / len(bins), axes.twinx()
    counts.set_zorder(axes.get_zorder() - 1)
    middles = [(index + 0.5) * width for index in range(len(bins))]
    counts.bar(middles, [one.count for one in bins], 0.9 * width, color=MUTED, alpha=0.28)
    counts.set_yscale("log")
    counts.set_ylim(0.6, 30 * sum(one.count for one in bins))
    counts.set_axis_off()


def _title(who: str, full: Sequence[ReliabilityBin], total: int) -> str:
    """Say in which direction confidence and accuracy differ, over all samples, and how far in each bin."""
    gaps = [one.count * (one.confidence - one.accuracy) for one in full]
    mean_gap, error = sum(gaps) / total, sum(map(abs, gaps)) / total
    if abs(mean_gap) < LEVEL:
        return f"{who} is as sure as it is right on average (ECE {100 * error:.2f} points)"
    direction = "too sure" if mean_gap > 0 else "not sure enough"
    return f"{who} is {direction} by {abs(100 * mean_gap):.2f} points on average (ECE {100 * error:.2f} points)"


def _table(bins: Sequence[ReliabilityBin]) -> Table:
    width = 100 / len(bins)
    return Table.of(
        ("confidence", "samples", "mean confidence", "accuracy"),
        [
            (
                f"{index * width:.1f} to {(index + 1) * width:.1f} %",
                f"{one.count:,}",
                percent(one.confidence if one.count else None),
                percent(one.accuracy if one.count else None),
            )
            for index, one in enumerate(bins)
        ],
    )
