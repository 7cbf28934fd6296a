"""How a run looks while it goes on: one live table on a terminal, one line at a time everywhere else."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from distilljob.console import in_percent, in_time, print_text
from distilljob.local.columns import WIDE_COLUMNS, Column, run_columns
from distilljob.local.picture import Picture, Row


class View(Protocol):
    """What the runner shows itself through."""

    def show(self, picture: Picture) -> None:
        """Show how things stand."""

    def tell(self, text: str, *, elapsed_seconds: float, is_warning: bool = False) -> None:
        """Tell one event, for good."""

    def close(self) -> None:
        """Leave the terminal as it was."""


class PlainView:
    """At most one line an epoch and student, and one an event."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._epochs: dict[str, int] = {}

    def show(self, picture: Picture) -> None:
        """Print a line for every student that has finished an epoch since."""
        for row in picture.rows:
            finished = int(row.epoch)
            if finished > self._epochs.setdefault(row.name, 0):
                self._epochs[row.name] = finished
                self._print(picture.elapsed_seconds, f"{row.name}: {epoch_line(row, picture.cycles)}")

    def tell(self, text: str, *, elapsed_seconds: float, is_warning: bool = False) -> None:
        """Print the event."""
        self._print(elapsed_seconds, f"warning: {text}" if is_warning else text)

    def close(self) -> None:
        """Nothing to leave behind."""

    def _print(self, elapsed_seconds: float, text: str) -> None:
        print_text(f"{in_time(elapsed_seconds):>7}  {text}", self._console)


class LiveView:
    """A row a student, redrawn in place; events scroll by above."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False)
        self._live.start()

    def show(self, picture: Picture) -> None:
        """Draw the table anew."""
        self._live.update(render(picture, self._console.width, self._console.height), refresh=True)

    def tell(self, text: str, *, elapsed_seconds: float, is_warning: bool = False) -> None:
        """Print the event above the table."""
        style = "yellow" if is_warning else "dim"
        self._console.print(Text(f"{in_time(elapsed_seconds):>7}  {text}", style=style))

    def close(self) -> None:
        """Leave the last table on the screen."""
        self._live.stop()


def open_view(console: Console) -> View:
    """Choose by where the output goes."""
    return LiveView(console) if console.is_terminal else PlainView(console)


def epoch_line(row: Row, cycles: int) -> str:
    """Say where a student is after an epoch."""
    parts = [f"epoch {int(row.epoch)}/{row.planned_epochs}", f"cycle {row.cycle}/{cycles}", row.doing]
    if row.loss is not None:
        parts.append(f"loss {row.loss:.4f}")
    if row.accuracy is not None:
        parts.append(f"test {in_percent(row.accuracy)} %")
    if row.samples_per_second > 0:
        parts.append(f"{row.samples_per_second:,.0f} samples/s")
    return ", ".join(parts)


def render(picture: Picture, width: int, height: int) -> RenderableType:
    """Draw a picture into a terminal of this size."""
    return Group(header(picture), *rows_table(picture, run_columns(width), width, max(1, height - 5)))


def header(picture: Picture) -> Text:
    """Say in a line how the whole run stands."""
    eta = f" · ETA {in_time(picture.eta_seconds)}" if picture.eta_seconds is not None else ""
    early = picture.stop_after_cycle is not None and picture.stop_after_cycle < picture.cycles
    end = f" · ends after cycle {picture.stop_after_cycle}" if early else ""
    return Text.assemble(
        (picture.job, "bold"),
        f" · {picture.method} · cycle {picture.cycle}/{picture.cycles} · {in_time(picture.elapsed_seconds)}"
        f" · restarts {picture.restarts}{eta}{end}",
    )


def rows_table(
    picture: Picture, columns: Sequence[Column], width: int, room: int | None = None
) -> Iterator[RenderableType]:
    """Draw the students; when there is room for fewer, those furthest back."""
    rows, hidden = picture.rows, len(picture.rows) - room if room is not None else 0
    if hidden > 0:
        rows = tuple(sorted(rows, key=lambda row: row.epoch)[:room])
    gap = 2 if width >= WIDE_COLUMNS else 1
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="dim", expand=True)
    for column in columns:
        column.add_to(table)
    for row in rows:
        table.add_row(*(column.cell(row, picture) for column in columns))
    yield table
    if hidden > 0:
        yield Text(f"and {hidden} more, further on", style="dim")
