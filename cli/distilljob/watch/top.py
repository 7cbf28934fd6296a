"""The round table of a job, live: `distilljob top`, wherever the job runs."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from distilljob import console
from distilljob.local.columns import top_columns
from distilljob.local.view import header, rows_table
from distilljob.run_directory.events import RunEvent, event_line
from distilljob.watch.gains import Gains
from distilljob.watch.keys import Keys
from distilljob.watch.seen import Seen, Watches
from distilljob.watch.sight import Watcher
from distilljob_core.round_table import RoundTable

REFRESH_SECONDS: Final = 1.0
NUM_EVENTS: Final = 6
NUM_OTHER_LINES: Final = 7
"""Header, round, titles, hidden students, gains and what is between."""


S = TypeVar("S", bound=Seen)


def run_top(root: Path) -> int:
    """Show a local run until it ends or somebody leaves with q; once, when the output is no terminal.

    Raises:
        NotFound: there is no run.
        BadInput: a file of the run is damaged.
    """
    return show_top(Watcher(root), Gains().of)


def show_top(watcher: Watches[S], gains_of: Callable[[S], list[float]]) -> int:
    """Show a job until it ends or somebody leaves with q; once, when the output is no terminal."""
    sight, out = watcher.look(), console.out
    if out.is_terminal and sight.is_live:
        with Keys() as keys, Live(console=out, screen=True, auto_refresh=False) as live:
            while sight.is_live:
                live.update(render_top(sight, gains_of(sight), out.width, out.height), refresh=True)
                if keys.pressed(REFRESH_SECONDS) == "q":
                    return 0
                sight = watcher.look()
    out.print(render_top(sight, gains_of(sight), out.width, None))
    return 0


def render_top(sight: Seen, gains: list[float], width: int, height: int | None) -> RenderableType:
    """Draw a run into a terminal of this size; None = as long as it gets."""
    events = sight.events[-NUM_EVENTS:]
    room = None
    if height is not None:
        spare = height - NUM_OTHER_LINES - len(sight.picture.rows)
        events = events[-max(1, spare) :]
        room = max(1, height - NUM_OTHER_LINES - len(events))
    end = "" if sight.is_live else f" · {sight.phase_word}"
    parts: list[RenderableType] = [
        Text.assemble(header(sight.picture), (end, "bold"), no_wrap=True, overflow="ellipsis"),
        _round_line(sight),
        "",
        *rows_table(sight.picture, top_columns(width), width, room),
        "",
    ]
    if gains:
        told = ", ".join(f"{100 * gain:+.2f}" for gain in gains)
        parts.append(Text(f"teacher gain by cycle, hold-out points: {told}", no_wrap=True, overflow="ellipsis"))
    return Group(*parts, *map(_event_line, events))


def _round_line(sight: Seen) -> Text:
    """Say how far the open round is; without an aggregator, how that is."""
    if sight.is_live and sight.aggregator != "ready":
        return Text(f"aggregator: {sight.aggregator}", style="yellow", no_wrap=True, overflow="ellipsis")
    table = sight.table
    if table is None or table.open is None:
        return Text("no round is open", style="dim")
    what = f"cycle {table.open.cycle}" if table.open.split == "train" else "evaluation"
    line = f"open round: {what}, {_complete(table)} of {len(table.students)} students complete"
    return Text(line, style="dim", no_wrap=True, overflow="ellipsis")


def _complete(table: RoundTable) -> int:
    return sum(0 < row.rows_total <= row.rows_durable for row in table.students)


def _event_line(event: RunEvent) -> Text:
    stamp = time.strftime("%H:%M:%S", time.localtime(event.timestamp_seconds))
    style = "yellow" if event.warning else "dim"
    return Text(f"{stamp}  {event_line(event)}", style=style, no_wrap=True, overflow="ellipsis")
