"""What a page is made of: tables of text, and figures with the numbers they show."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from distilljob.report.style import VARIABLE_OF, Look


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as text; the first column names the row."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> "Table":
        """Make a table of any sequences."""
        return cls(tuple(columns), tuple(tuple(row) for row in rows))


@dataclass(frozen=True, slots=True)
class Key:
    """One entry of a legend."""

    text: str
    color: str
    """A CSS value."""
    dashes: str = ""
    kind: str = "line"
    """line, patch, hatch or marker."""


def line_key(text: str, look: Look) -> Key:
    """Make the legend's entry of a line."""
    return Key(text, css(look.color), ",".join(f"{length:g}" for length in look.dashes))


def css(placeholder: str) -> str:
    """Give the CSS value of a placeholder color."""
    return f"var({VARIABLE_OF[placeholder]})"


@dataclass(frozen=True, slots=True)
class Picture:
    """One figure."""

    name: str
    """Unique on the page."""
    title: str
    """What is seen."""
    svg: Markup
    caption: str
    table: Table
    keys: tuple[Key, ...] = ()
