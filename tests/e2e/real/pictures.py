"""A dashboard's panels drawn with the data of its own queries: what Grafana would show, without Grafana."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from real.prometheus import Query
from real.site import Object

CELL_INCHES = (0.72, 0.34)
"""Of one column and one row of Grafana's grid."""
WIDTH = 24
SCALES = {"percentunit": (100.0, "%"), "bytes": (1e-6, "MB"), "s": (1.0, "s"), "short": (1.0, ""), "sci": (1.0, "")}
MOST_LEGENDS = 8


def draw(title: str, asked: Sequence[Query], found: Sequence[Sequence[Object]], path: Path) -> None:
    """Draw all panels of one dashboard into one picture."""
    panels = {query.panel["id"]: query.panel for query in asked}
    bottom = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels.values())
    width, height = WIDTH * CELL_INCHES[0], bottom * CELL_INCHES[1] + 0.6
    figure = plt.figure(figsize=(width, height), dpi=80)
    figure.suptitle(title, x=0.01, ha="left", fontsize=14, y=1 - 0.2 / height)
    begin = min(float(series["values"][0][0]) for each in found for series in each)
    for panel in panels.values():
        at = panel["gridPos"]
        left, lower = (at["x"] + 1.0) / WIDTH, (bottom - at["y"] - at["h"] + 1.4) / (bottom + 1.8)
        axes = figure.add_axes((left, lower, (at["w"] - 1.6) / WIDTH, (at["h"] - 3.0) / (bottom + 1.8)))
        own = [(query, series) for query, each in zip(asked, found, strict=True) for series in each]
        _panel(axes, panel, [(query, series) for query, series in own if query.panel["id"] == panel["id"]], begin)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)


def _panel(axes: Axes, panel: Object, own: Sequence[tuple[Query, Object]], begin: float) -> None:
    axes.set_title(panel["title"], fontsize=9, loc="left")
    factor, unit = SCALES.get(panel["fieldConfig"]["defaults"]["unit"], (1.0, "1/s"))
    if panel["type"] == "stat":
        _stat(axes, own, factor, unit)
        return
    for number, (query, series) in enumerate(own):
        times = [float(at) - begin for at, _ in series["values"]]
        values = [float(value) * factor for _, value in series["values"]]
        label = _legend(query.legend, series["metric"]) if number < MOST_LEGENDS else None
        axes.plot(times, values, linewidth=1.2, label=label, marker="." if len(times) < 3 else None)
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds:.0f} s"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} {unit}".strip()))
    if own:
        axes.legend(fontsize=6, frameon=False, loc="best", ncols=2 if len(own) > 4 else 1)


def _stat(axes: Axes, own: Sequence[tuple[Query, Object]], factor: float, unit: str) -> None:
    axes.axis("off")
    values = [float(series["values"][-1][1]) * factor for _, series in own]
    shown = ", ".join(f"{value:.3g} {unit}".strip() for value in values)
    axes.text(0.5, 0.45, shown, fontsize=22, ha="center", va="center", transform=axes.transAxes)


def _legend(template: str, labels: Any) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: str(labels.get(found[1], "")), template).strip() or "value"
