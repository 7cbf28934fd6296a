"""Attempts, faults and rounds on one time line."""

from collections import Counter
from typing import Any, Final

from matplotlib.axes import Axes

from distilljob.report.attempts import FAULTS, Attempt, TimeLine, elapsed, time_line
from distilljob.report.cast import Cast
from distilljob.report.picture import Key, Picture, Table, css
from distilljob.report.run import Run
from distilljob.report.style import BAD, GRID, INK, MUTED, PAPER
from distilljob.report.svg import draw
from distilljob.report.words import counted, listed, moment, seconds, short

MANY_ROWS: Final = 16
_MARKS: Final = {
    "crash": ("X", "✖"),
    "kill": ("D", "◆"),
    "hang": ("s", "■"),
    "early exit": ("^", "▲"),
    "lost": ("v", "▼"),
    "dropped": ("P", "✚"),
    "parked": ("|", "❘"),
}
"""matplotlib's marker and a letter that looks like it, by what ended an attempt."""


def timeline(run: Run, cast: Cast, name: str) -> Picture | None:
    """Draw a bar for each attempt and a mark for what ended it; None where the runner put nothing on record."""
    line = time_line(run.events)
    if not line.attempts:
        return None
    shown = _shown(run, cast, line)
    scale, unit = _unit(line.span_seconds)

    def paint(axes: Axes) -> None:
        _paint_run(axes, line, scale)
        for attempt in line.attempts:
            if attempt.student in shown:
                _paint_attempt(axes, shown.index(attempt.student), attempt, cast, scale)
        axes.set_yticks(range(len(shown)), [short(name) for name in shown])
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.grid(False)
        axes.set_xlabel(f"time since the first start, {unit}")
        axes.margins(x=0.03)

    title = _title(line)
    left_out = "" if len(shown) == len(run.students) else f" Shown are {len(shown)} of {len(run.students)} students."
    return Picture(
        name=name,
        title=title,
        svg=draw(name, f"Time line of attempts. {title}", paint, 1.0 + 0.34 * len(shown)),
        caption="A bar is one attempt, with its number from the second on; every new one goes on from the last "
        f"checkpoint.{left_out}",
        table=_table(run),
        keys=_keys(line),
    )


def _shown(run: Run, cast: Cast, line: TimeLine) -> list[str]:
    """Name the students that have a row: of many, those that stand for all and those that something happened to."""
    names = [student.name for student in run.students]
    if len(names) <= MANY_ROWS:
        return names
    told = {student.name for student in cast.stand_ins(run)}
    told |= {attempt.student for attempt in line.attempts if attempt.end in FAULTS}
    return [name for name in names if name in told][:MANY_ROWS]


def _unit(span_seconds: float) -> tuple[float, str]:
    if span_seconds < 300:
        return 1.0, "seconds"
    return (60.0, "minutes") if span_seconds < 7200 else (3600.0, "hours")


def _paint_attempt(axes: Axes, row: int, attempt: Attempt, cast: Cast, scale: float) -> None:
    begin, end = attempt.begin_seconds / scale, attempt.end_seconds / scale
    color = cast.looks[attempt.student].color or MUTED
    ragged: dict[str, Any] = {"facecolor": PAPER, "hatch": "....", "edgecolor": color, "linewidth": 0.8}
    whole: dict[str, Any] = {"facecolor": color, "edgecolor": PAPER, "linewidth": 0.8}
    axes.barh(row, end - begin, left=begin, height=0.5, zorder=2.5, **(ragged if attempt.end == "unseen" else whole))
    if attempt.number > 1:
        where: Any = {"textcoords": "offset points", "va": "center"}
        axes.annotate(str(attempt.number), (begin, row), (9, 0), **where, color=PAPER, zorder=4)
    if attempt.end in _MARKS:
        marker, color = _MARKS[attempt.end][0], BAD if attempt.end in FAULTS else INK
        axes.plot([end], [row], marker, color=color, markersize=8, markeredgecolor=PAPER, clip_on=False, zorder=5)


def _paint_run(axes: Axes, line: TimeLine, scale: float) -> None:
    """Draw what concerns everybody."""
    for at_seconds in line.round_closes:
        axes.axvline(at_seconds / scale, color=MUTED, linewidth=0.8, zorder=1)
    for at_seconds in line.aggregator_ends:
        axes.axvline(at_seconds / scale, color=BAD, linewidth=1.2, linestyle=(0, (2, 2)), zorder=1)
    for begin_seconds, end_seconds in line.gaps:
        axes.axvspan(begin_seconds / scale, end_seconds / scale, facecolor=GRID, zorder=0.5)


def _keys(line: TimeLine) -> tuple[Key, ...]:
    ends = dict.fromkeys(attempt.end for attempt in line.attempts)
    keys = [_mark_key(end) for end in ends if end in _MARKS]
    if "unseen" in ends:
        keys.append(Key("end not seen", css(MUTED), kind="outline"))
    if line.round_closes:
        keys.append(Key("round closed", css(MUTED), kind="tick"))
    if line.aggregator_ends:
        keys.append(Key("aggregator ended", css(BAD), kind="tick"))
    if line.gaps:
        keys.append(Key("no runner", css(GRID), kind="patch"))
    return tuple(keys)


def _mark_key(end: str) -> Key:
    return Key(f"{_MARKS[end][1]} {end}", css(BAD if end in FAULTS else INK), kind="text")


def _title(line: TimeLine) -> str:
    faults = [attempt for attempt in line.attempts if attempt.end in FAULTS]
    if not faults:
        return f"No attempt failed in {seconds(line.span_seconds)}"
    counts = Counter(fault.end for fault in faults)
    kinds = [f"{counts[kind]} × {kind}" for kind in FAULTS if kind in counts]
    hit = dict.fromkeys(fault.student for fault in faults)
    return f"{counted(len(faults), 'attempt')} failed ({listed(kinds)}): {listed(list(hit))}"


def _table(run: Run) -> Table:
    rows = [
        (f"{at:,.1f}", moment(event.timestamp_seconds), event.student or "–", event.reason, event.message)
        for event, at in zip(run.events, elapsed(run.events), strict=True)
    ]
    return Table.of(("seconds", "time", "student", "event", "message"), rows)
