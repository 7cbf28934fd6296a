"""What a process said last: its log's end, and the error that it names there."""

import os
import re
from pathlib import Path
from typing import Final

from distilljob_core.errors import DistillJobError

TAIL_BYTES: Final = 16_384

_NAMED: Final = re.compile(r"(?P<module>(?:\w+\.)*)(?P<name>[A-Z]\w*)(?:: |$)")
"""The line that ends a traceback, or that a process printed on its own account: `Name: text`."""


def last_lines(log: Path, count: int | None = None) -> list[str]:
    """Read the end of a log, without empty lines; None = as much of it as is worth reading."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    return [line for line in lines if line.strip()][-(count or 0) :]


def error_lines(log: Path) -> list[str]:
    """Read the error at the end of a log, from the line that names it to the end; its last line if none does.

    An error of our own, which says what to change, counts more than one that a library raised below it.
    """
    lines = last_lines(log)
    own = _own_names(DistillJobError)
    found = [(index, match) for index, line in enumerate(lines) if (match := _NAMED.match(line))]
    ours = [index for index, match in found if match["name"] in own and not match["module"]]
    others = [index for index, match in found if match["name"].endswith(("Error", "Exception", "Interrupt"))]
    if starts := ours or others:
        return lines[starts[-1] :]
    return [line for line in lines if any(map(str.isalpha, line))][-1:]


def _own_names(kind: type[DistillJobError]) -> frozenset[str]:
    return frozenset({kind.__name__}).union(*(_own_names(below) for below in kind.__subclasses__()))
