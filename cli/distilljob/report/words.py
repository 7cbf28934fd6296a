"""Numbers as this page writes them."""

from collections.abc import Sequence
from datetime import UTC, datetime


def percent(ratio: float | None) -> str:
    """Write a share: 97.62 %; a dash where nothing was measured."""
    return "–" if ratio is None else f"{100 * ratio:.2f} %"


def points(ratio: float) -> str:
    """Write a difference of two shares, in percentage points with its sign."""
    return f"{100 * ratio:+.2f}".replace("-", "−") if abs(ratio) >= 5e-5 else "0.00"


def nats(value: float | None) -> str:
    """Write a loss."""
    return "–" if value is None else f"{value:.4f}"


def number(value: float) -> str:
    """Write any quantity to three digits."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}".replace("-", "−")


def seconds(value: float) -> str:
    """Write a time span: 14.6 s, 12.5 min, 3.2 h."""
    if value < 120:
        return f"{value:.1f} s"
    return f"{value / 60:.1f} min" if value < 7200 else f"{value / 3600:.1f} h"


def moment(timestamp_seconds: float) -> str:
    """Write a time of the run, in UTC whatever this machine's zone: the page must not depend on it."""
    return datetime.fromtimestamp(timestamp_seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def printable(text: str) -> str:
    """Replace what neither a page nor a figure can hold: control characters, halves of a character."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def listed(names: Sequence[str], limit: int = 6) -> str:
    """Join names: a, b and c."""
    shown = list(names) if len(names) <= limit else [*names[:limit], f"{len(names) - limit} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def short(text: str, limit: int = 14) -> str:
    """Cut a name to what fits beside an axis; its middle goes, since names of one family differ at their ends."""
    return text if len(text) <= limit else f"{text[: limit // 2]}…{text[-(limit // 2 - 1) :]}"


def counted(count: int, noun: str) -> str:
    """Write a number of things: 1 restart, 2 restarts."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
