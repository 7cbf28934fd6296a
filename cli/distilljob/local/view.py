"""How a run looks while it goes on: one live table on a terminal, one line at a time everywhere else."""

from typing import Final, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from distilljob.console import in_percent, in_time, print_text
from distilljob.local.picture import Picture, Row

WIDE_COLUMNS: Final = 100
NARROW_COLUMNS: Final = 76
"""Below it there is no room for speed and bar."""


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
    """Draw a picture into a terminal of this size; when it is too low, the students furthest back are shown."""
    eta = f" · ETA {in_time(picture.eta_seconds)}" if picture.eta_seconds is not None else ""
    header = Text.assemble(
        (picture.job, "bold"),
        f" · {picture.method} · cycle {picture.cycle}/{picture.cycles} · {in_time(picture.elapsed_seconds)}"
        f" · restarts {picture.restarts}{eta}",
    )
    room = max(1, height - 5)
    rows, hidden = picture.rows, len(picture.rows) - room
    if hidden > 0:
        rows = tuple(sorted(rows, key=lambda row: row.epoch)[:room])
    parts: list[RenderableType] = [header, _table(rows, picture, width)]
    if hidden > 0:
        parts.append(Text(f"and {hidden} more, further on", style="dim"))
    return Group(*parts)


def _table(rows: tuple[Row, ...], picture: Picture, width: int) -> Table:
    is_wide, is_narrow = width >= WIDE_COLUMNS, width < NARROW_COLUMNS
    table = Table(box=None, pad_edge=False, padding=(0, 2 if is_wide else 1, 0, 0), header_style="dim", expand=True)
    table.add_column("student", no_wrap=True, max_width=24 if is_wide else 12)
    table.add_column("phase", no_wrap=True, min_width=13)
    for title in ("cycle", "epoch", "loss", "test %"):
        table.add_column(title, justify="right", no_wrap=True)
    if not is_narrow:
        table.add_column("samples/s", justify="right", no_wrap=True)
        table.add_column("", ratio=1, min_width=4)
    table.add_column("ETA", justify="right", no_wrap=True, min_width=5)
    for row in rows:
        speed = f"{row.samples_per_second:,.0f}" if row.samples_per_second > 0 else ""
        table.add_row(
            row.name,
            Text(row.doing, style=_style(row.doing)),
            f"{row.cycle}/{picture.cycles}" if row.cycle else "",
            f"{int(row.epoch)}/{row.planned_epochs}" if row.planned_epochs else "",
            f"{row.loss:.4f}" if row.loss is not None else "",
            in_percent(row.accuracy) if row.accuracy is not None else "",
            *(() if is_narrow else (speed, ProgressBar(total=1.0, completed=row.done))),
            in_time(row.eta_seconds) if row.eta_seconds is not None else "",
        )
    return table


def _style(doing: str) -> str:
    if doing == "Finished":
        return "green"
    if doing in ("Independent", "Distilling"):
        return "cyan"
    return "yellow" if doing.startswith("Back-off") or doing in ("Ending", "Dropped") else ""
