"""A dashboard's panels drawn with the data of its own queries: what Grafana would show, without Grafana."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from real.prometheus import Query
from real.site import Object

COLUMNS = 24
CELL_INCHES = (0.72, 0.42)
"""Of one column and one row of Grafana's grid."""
HEAD_INCHES = 0.6
SUFFIXES = {"percentunit": " %", "s": " s", "ops": "/s", "reqps": "/s"}
BYTES = ((1 << 30, " GiB"), (1 << 20, " MiB"), (1 << 10, " KiB"), (1, " B"))
COLORS = {"green": "tab:green", "yellow": "goldenrod", "red": "tab:red"}

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Span:
    """The time that all panels show, and how often there is a sample in it."""

    begin_seconds: float
    end_seconds: float
    step_seconds: float


@dataclass(frozen=True)
class Box:
    """Where a panel is in the picture, in inches from its lower left corner."""

    left: float
    bottom: float
    width: float
    height: float


def draw(title: str, asked: Sequence[Query], found: Sequence[Sequence[Object]], path: Path) -> None:
    """Draw all panels of one dashboard into one picture."""
    panels = {query.panel["id"]: query.panel for query in asked}
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels.values())
    height = rows * CELL_INCHES[1] + HEAD_INCHES
    figure = plt.figure(figsize=(COLUMNS * CELL_INCHES[0], height), dpi=80)
    figure.text(0.01, 1 - 0.5 * HEAD_INCHES / height, title, fontsize=14, va="center")
    span = _span(found)
    for panel in panels.values():
        own = [each for query, each in zip(asked, found, strict=True) if query.panel["id"] == panel["id"]]
        legends = [query.legend for query in asked if query.panel["id"] == panel["id"]]
        lines = {
            _legend(legend, series["metric"]): [(float(at), float(value)) for at, value in series["values"]]
            for legend, each in zip(legends, own, strict=True)
            for series in each
        }
        at = panel["gridPos"]
        left, bottom = at["x"] * CELL_INCHES[0], (rows - at["y"] - at["h"]) * CELL_INCHES[1]
        _panel(figure, Box(left, bottom, at["w"] * CELL_INCHES[0], at["h"] * CELL_INCHES[1]), panel, lines, span)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)


def _span(found: Sequence[Sequence[Object]]) -> Span:
    times = sorted({float(at) for each in found for series in each for at, _ in series["values"]})
    steps = [later - sooner for sooner, later in pairwise(times)]
    return Span(times[0], times[-1], min(steps, default=1.0))


def _panel(figure: Figure, box: Box, panel: Object, lines: Mapping[str, Points], span: Span) -> None:
    width, height = figure.get_size_inches()
    edge = Rectangle(
        ((box.left + 0.06) / width, (box.bottom + 0.06) / height),
        (box.width - 0.12) / width,
        (box.height - 0.12) / height,
        transform=figure.transFigure,
        fill=False,
        edgecolor="lightgray",
    )
    figure.add_artist(edge)
    figure.text((box.left + 0.15) / width, (box.bottom + box.height - 0.26) / height, panel["title"], fontsize=9)
    factor, suffix = _scale(panel["fieldConfig"]["defaults"]["unit"], lines)
    scaled = {legend: [(at, value * factor) for at, value in points] for legend, points in lines.items()}
    columns = max(1, int((box.width - 0.8) / (0.5 + 0.065 * max(map(len, lines), default=0))))
    legend_inches = 0.16 * math.ceil(len(lines) / columns)
    bottom = box.bottom + (0.5 + legend_inches if panel["type"] != "stat" else 0.2)
    top = box.bottom + box.height - 0.4
    axes = figure.add_axes(
        ((box.left + 0.75) / width, bottom / height, (box.width - 1.0) / width, (top - bottom) / height)
    )
    if panel["type"] == "stat":
        _stat(axes, panel, scaled, factor, suffix)
        return
    _lines(axes, panel, scaled, span)
    _y_axis(axes, panel, scaled, factor, suffix)
    place = ((box.left + 0.65) / width, (box.bottom + 0.12) / height)
    form = {"fontsize": 7, "frameon": False, "ncols": columns, "borderpad": 0, "borderaxespad": 0, "labelspacing": 0.3}
    axes.legend(loc="lower left", bbox_to_anchor=place, bbox_transform=figure.transFigure, **form)


def _lines(axes: Axes, panel: Object, lines: Mapping[str, Points], span: Span) -> None:
    """Draw each series; a line ends where samples are missing, and a sample without a neighbor is a dot."""
    for legend, points in lines.items():
        (line,) = axes.plot([], [], linewidth=1.2, label=legend)
        for run in _runs(points, span.step_seconds):
            times, values = [at - span.begin_seconds for at, _ in run], [value for _, value in run]
            marker = "." if len(run) == 1 else None
            axes.plot(times, values, linewidth=1.2, color=line.get_color(), marker=marker, clip_on=False, zorder=3)
    axes.set_xlim(0, max(span.end_seconds - span.begin_seconds, span.step_seconds))
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds:.0f} s"))


def _runs(points: Points, step_seconds: float) -> Iterator[Points]:
    """Cut a series where samples are missing, or are no numbers."""
    run: Points = []
    for at, value in points:
        if run and at - run[-1][0] > 1.5 * step_seconds:
            yield run
            run = []
        if math.isfinite(value):
            run.append((at, value))
    if run:
        yield run


def _y_axis(axes: Axes, panel: Object, lines: Mapping[str, Points], factor: float, suffix: str) -> None:
    """Keep to the panel's limits; thresholds are drawn where they lie within what is shown."""
    defaults = panel["fieldConfig"]["defaults"]
    values = [value for points in lines.values() for _, value in points if math.isfinite(value)]
    if "min" in defaults:
        bottom, largest = defaults["min"] * factor, max(values, default=0.0)
        room = 1.05 * (largest - bottom) if largest > bottom else 1.0
        axes.set_ylim(bottom, defaults["max"] * factor if "max" in defaults else bottom + room)
    axes.set_autoscaley_on(False)
    if defaults.get("custom", {}).get("thresholdsStyle", {}).get("mode") == "line":
        for step in defaults["thresholds"]["steps"][1:]:
            axes.axhline(step["value"] * factor, color=COLORS[step["color"]], linestyle="--", linewidth=0.8)
    is_count = defaults["unit"] in ("short", "bytes") and all(value.is_integer() for value in values)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=is_count))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}{suffix}"))


def _stat(axes: Axes, panel: Object, lines: Mapping[str, Points], factor: float, suffix: str) -> None:
    """Write the last value in the color of the threshold that it has reached."""
    axes.axis("off")
    values = [points[-1][1] for points in lines.values()]
    shown = ", ".join(f"{value:.3g}{suffix}" for value in values) or "No data"
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    reached = [step for step in steps if step["value"] is None or (values and step["value"] * factor <= max(values))]
    color = COLORS[reached[-1]["color"]]
    axes.text(0.5, 0.5, shown, fontsize=24, ha="center", va="center", color=color, transform=axes.transAxes)


def _scale(unit: str, lines: Mapping[str, Points]) -> tuple[float, str]:
    """Give what to multiply with, and what to write behind a number."""
    if unit != "bytes":
        return 100.0 if unit == "percentunit" else 1.0, SUFFIXES.get(unit, "")
    largest = max((value for points in lines.values() for _, value in points), default=0.0)
    size, suffix = next((each for each in BYTES if each[0] <= largest), BYTES[-1])
    return 1 / size, suffix


def _legend(template: str, labels: Any) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: str(labels.get(found[1], "")), template).strip() or "Value"
