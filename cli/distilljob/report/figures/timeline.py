"""Attempts, faults and rounds on one time line."""

from typing import Any, Final

from matplotlib.axes import Axes

from distilljob.report.attempts import FAULTS, Attempt, TimeLine, elapsed, time_line
from distilljob.report.cast import Cast
from distilljob.report.picture import Key, Picture, Table, css
from distilljob.report.run import Run
from distilljob.report.style import BAD, GRID, INK, MUTED, PAPER
from distilljob.report.svg import draw
from distilljob.report.words import counted, listed, moment, seconds

MANY_ROWS: Final = 16
_MARKS: Final = {"crash": "X", "hang": "s", "early exit": "^", "lost": "v", "dropped": "P", "parked": "|"}


def timeline(run: Run, cast: Cast, name: str) -> Picture | None:
    """Draw a bar for each attempt and a mark for what ended it; None where the runner put nothing on record."""
    line = time_line(run.events)
    if not line.attempts:
        return None
    faulty = {attempt.student for attempt in line.attempts if attempt.end in FAULTS}
    shown = [student.name for student in run.students]
    if len(shown) > MANY_ROWS:
        told = {student.name for student in cast.stand_ins(run)} | faulty
        shown = [student for student in shown if student in told][:MANY_ROWS]
    scale, unit = _unit(line.span_seconds)

    def paint(axes: Axes) -> None:
        _paint_moments(axes, line, scale)
        for attempt in line.attempts:
            if attempt.student in shown:
                _paint_attempt(axes, shown.index(attempt.student), attempt, cast, scale)
        axes.set_yticks(range(len(shown)), shown)
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.grid(False)
        axes.set_xlabel(f"time since the first start, {unit}")
        axes.margins(x=0.03)

    title = _title(line)
    left_out = "" if len(shown) == len(run.students) else f" Shown are {len(shown)} of {len(run.students)} students."
    return Picture(
        title=title,
        svg=draw(name, f"Time line of attempts. {title}", paint, 1.0 + 0.34 * len(shown)),
        caption=f"A bar is one attempt, labeled with its number from the second on.{left_out}",
        table=_table(run),
        keys=_keys(line),
    )


def _unit(span_seconds: float) -> tuple[float, str]:
    if span_seconds < 300:
        return 1.0, "seconds"
    return (60.0, "minutes") if span_seconds < 7200 else (3600.0, "hours")


def _paint_attempt(axes: Axes, row: int, attempt: Attempt, cast: Cast, scale: float) -> None:
    begin, end = attempt.begin_seconds / scale, attempt.end_seconds / scale
    color = cast.looks[attempt.student].color or MUTED
    ragged: dict[str, Any] = {"facecolor": PAPER, "hatch": "....", "edgecolor": color, "linewidth": 0.8}
    look = ragged if attempt.end == "open" else {"facecolor": color}
    axes.barh(row, end - begin, left=begin, height=0.5, zorder=2.5, **look)
    if attempt.number > 1:
        axes.annotate(
            str(attempt.number), (begin, row), (2, 0), textcoords="offset points", va="center", color=PAPER, zorder=4
        )
    if attempt.end in _MARKS:
        is_fault = attempt.end in FAULTS
        axes.plot(
            [end],
            [row],
            _MARKS[attempt.end],
            color=BAD if is_fault else INK,
            markersize=7,
            clip_on=False,
            zorder=5,
            markeredgecolor=PAPER if is_fault else INK,
        )


def _paint_moments(axes: Axes, line: TimeLine, scale: float) -> None:
    stopped: float | None = None
    for one in line.moments:
        at = one.at_seconds / scale
        if one.kind == "round closed":
            axes.axvline(at, color=MUTED, linewidth=0.8, zorder=1)
        elif one.kind == "aggregator ended":
            axes.axvline(at, color=BAD, linewidth=1.2, linestyle=(0, (2, 2)), zorder=1)
        elif one.kind == "runner stopped":
            stopped = at
        elif stopped is not None:
            axes.axvspan(stopped, at, facecolor=GRID, zorder=0.5)
            stopped = None


def _keys(line: TimeLine) -> tuple[Key, ...]:
    names = {"X": "✖", "s": "■", "^": "▲", "v": "▼", "P": "✚", "|": "❘"}
    ends = dict.fromkeys(attempt.end for attempt in line.attempts if attempt.end in _MARKS)
    kinds = {one.kind for one in line.moments}
    keys = [Key(f"{names[_MARKS[end]]} {end}", css(BAD if end in FAULTS else INK), kind="text") for end in ends]
    if "round closed" in kinds:
        keys.append(Key("round closed", css(MUTED)))
    if "aggregator ended" in kinds:
        keys.append(Key("aggregator ended", css(BAD), "2,2"))
    if any(one.kind == "runner started" and one.at_seconds > 0 for one in line.moments):
        keys.append(Key("no runner", css(GRID), kind="patch"))
    return tuple(keys)


def _title(line: TimeLine) -> str:
    faults = [attempt for attempt in line.attempts if attempt.end in FAULTS]
    if not faults:
        return f"No attempt failed in {seconds(line.span_seconds)}"
    kinds = [
        f"{sum(fault.end == kind for fault in faults)} {kind}" for kind in FAULTS if kind in {f.end for f in faults}
    ]
    hit = dict.fromkeys(fault.student for fault in faults)
    return f"{counted(len(faults), 'attempt')} failed ({listed(kinds)}): {listed(list(hit))}"


def _table(run: Run) -> Table:
    rows = [
        (moment(event.timestamp_seconds), f"{at:,.1f}", event.student or "–", event.reason, event.message)
        for event, at in zip(run.events, elapsed(run.events), strict=True)
    ]
    return Table.of(("time", "seconds", "student", "event", "message"), rows)
