"""What can be shown of a student, one column each; each view chooses its own by the width it has."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Final, Literal

from rich.console import RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from distilljob.console import in_percent, in_time
from distilljob.local.picture import Picture, Row

WIDE_COLUMNS: Final = 100
NARROW_COLUMNS: Final = 76
"""Below it there is no room for speed and bar."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the students' table."""

    title: str
    cell: Callable[[Row, Picture], RenderableType]
    justify: Literal["left", "right"] = "right"
    min_width: int | None = None
    max_width: int | None = None
    ratio: int | None = None

    def add_to(self, table: Table) -> None:
        """Append it to a table."""
        table.add_column(
            self.title,
            justify=self.justify,
            no_wrap=True,
            min_width=self.min_width,
            max_width=self.max_width,
            ratio=self.ratio,
        )


def run_columns(width: int) -> Sequence[Column]:
    """Choose what `run` shows."""
    student = _student(24 if width >= WIDE_COLUMNS else 12)
    middle = (_SPEED, _BAR) if width >= NARROW_COLUMNS else ()
    return (student, _PHASE, _CYCLE, _EPOCH, _LOSS, _ACCURACY, *middle, _ETA)


def top_columns(width: int) -> Sequence[Column]:
    """Choose what `top` shows: how each student is with the open round above all."""
    if width >= WIDE_COLUMNS:
        rows = (_ROWS, _BARRIER, _RESTARTS, _ETA)
        return (_student(24), _PHASE, _CYCLE, _EPOCH, _LOSS, _ACCURACY, _SPEED, *rows)
    return (_student(11), _PHASE, _EPOCH, _LOSS, _ACCURACY, _SPEED, _ROWS_SHARE, _BARRIER, _RESTARTS)


def status_columns(width: int, *, is_live: bool) -> Sequence[Column]:
    """Choose what `status` shows; ages mean something only while somebody counts them."""
    student = _student(24 if width >= WIDE_COLUMNS else 12)
    age = (_AGE,) if is_live else ()
    return (student, _PHASE, _ATTEMPT, _CYCLE, _EPOCH, _ACCURACY, *age, _CAUSES)


def _student(max_width: int) -> Column:
    return Column("student", lambda row, _: row.name, "left", max_width=max_width)


def _doing_style(doing: str) -> str:
    if doing == "Finished":
        return "green"
    if doing in ("Independent", "Distilling"):
        return "cyan"
    return "yellow" if doing.startswith("Back-off") or doing in ("Ending", "Dropped", "Stopped") else ""


def _speed(row: Row, _: Picture) -> str:
    return f"{row.samples_per_second:,.0f}" if row.samples_per_second > 0 else ""


def _rows(row: Row, _: Picture) -> str:
    return f"{row.rows_durable:,}/{row.rows_total:,}" if row.rows_total else ""


def _causes(row: Row, _: Picture) -> str:
    return ", ".join(f"{cause} {count}" for cause, count in asdict(row.restarts).items() if count) or "none"


_PHASE: Final = Column("phase", lambda row, _: Text(row.doing, _doing_style(row.doing)), "left", min_width=13)
_ATTEMPT: Final = Column("attempt", lambda row, _: str(row.attempt or ""))
_CYCLE: Final = Column("cycle", lambda row, picture: f"{row.cycle}/{picture.cycles}" if row.cycle else "")
_EPOCH: Final = Column("epoch", lambda row, _: f"{int(row.epoch)}/{row.planned_epochs}" if row.planned_epochs else "")
_LOSS: Final = Column("loss", lambda row, _: f"{row.loss:.4f}" if row.loss is not None else "")
_ACCURACY: Final = Column("test %", lambda row, _: in_percent(row.accuracy) if row.accuracy is not None else "")
_SPEED: Final = Column("samples/s", _speed)
_BAR: Final = Column("", lambda row, _: ProgressBar(total=1.0, completed=row.done), "left", min_width=4, ratio=1)
_ETA: Final = Column("ETA", lambda row, _: in_time(row.eta_seconds) if row.eta_seconds is not None else "", min_width=5)
_ROWS: Final = Column("rows", _rows)
_ROWS_SHARE: Final = Column(
    "rows", lambda row, _: f"{row.rows_durable / row.rows_total:.0%}" if row.rows_total else "", min_width=4
)
_BARRIER: Final = Column("barrier", lambda row, _: in_time(row.barrier_seconds) if row.barrier_seconds else "")
_RESTARTS: Final = Column("restarts", lambda row, _: str(row.restarts.total))
_AGE: Final = Column(
    "progress", lambda row, _: f"{in_time(row.silent_seconds)} ago" if row.silent_seconds is not None else ""
)
_CAUSES: Final = Column("restarts", _causes, "left", ratio=1)
