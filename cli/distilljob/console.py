"""How the command line prints: one block for an error, plain words for units."""

import json
import os
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from distilljob.errors import CommandError


class Output(Console):
    """A console that falls silent when its reader leaves (`| head`); the program goes on to its end."""

    def on_broken_pipe(self) -> None:
        """Write to nowhere from now on."""
        self.quiet = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.file.fileno())
        os.close(nowhere)


out: Final = Output(highlight=False, emoji=False, force_jupyter=False)
err: Final = Output(stderr=True, highlight=False, emoji=False, force_jupyter=False)


def print_text(text: str, console: Console = out) -> None:
    """Print a text as it is: a line stays one line however narrow the console thinks it is."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def print_error(error: CommandError) -> None:
    """Print what is wrong: the place of each problem, what it is, what to change."""
    count = len(error.problems)
    tail = f": {count} problems" if count > 1 else ""
    err.print(f"[bold red]error:[/] {escape(error.title)}{tail}")
    for problem in error.problems:
        err.print(f"  [bold]{escape(problem.path)}[/]")
        err.print(Padding(escape(problem.message), (0, 0, 0, 6)))
        if problem.hint:
            err.print(Padding(f"[green]fix:[/] {escape(problem.hint)}", (0, 0, 0, 6)))


def print_json(value: Any) -> None:
    """Print one JSON document and nothing else."""
    print_text(json.dumps(value, indent=2, ensure_ascii=False))


def in_bytes(amount: float) -> str:
    """Write an amount as people read it: 512 B, 1.5 KiB, 20 MiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 10 else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:,.1f} TiB"


def in_time(seconds: float) -> str:
    """Write a time as people read it: 9s, 1m05s, 2h03m, 3d04h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86_400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3600:02d}h"


def in_percent(ratio: float | None) -> str:
    """Write a ratio in percent; a dash where nothing was measured."""
    return "-" if ratio is None else f"{100 * ratio:.2f}"
