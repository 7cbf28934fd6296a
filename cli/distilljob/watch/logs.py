"""`distilljob logs DIR NAME`: what one process of a run has said, and how such lines are printed."""

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from rich.text import Text

from distilljob import console
from distilljob.errors import BadInput, NotFound
from distilljob.run_directory.find import find_run, read_snapshot
from distilljob.run_directory.folder import RunFolder
from distilljob_core.names import AGGREGATOR
from distilljob_core.spec.resolve import student_names

RUNNER: Final = "runner"
LOOK_SECONDS: Final = 0.3
CHUNK_BYTES: Final = 1 << 16
_TOLD_BY_THE_FILE: Final = frozenset({"student", "attempt", "job", "event", "level", "timestamp"})
_STYLES: Final = {"warning": "yellow", "error": "red", "critical": "red"}


def run_logs(root: Path, name: str, attempt: int | None, *, follow: bool) -> int:
    """Print a log; the exit code.

    Args:
        root: a run directory.
        name: a student, `aggregator` or `runner`.
        attempt: None = the newest one; of the aggregator, which start.
        follow: go on with what comes, over all later attempts unless one was named, until nobody runs the job.

    Raises:
        NotFound: no such run, student or attempt.
        BadInput: an attempt of the runner.
    """
    folder = find_run(root)
    logs = Logs(folder, name)
    if attempt is not None:
        logs.check(attempt)
    with printer() as print_line:
        for line in _follow(folder, logs, attempt) if follow else _lines(logs.newest(attempt)):
            print_line(line)
    return 0


@contextmanager
def printer() -> Iterator[Callable[[bytes], None]]:
    """Give what prints lines of a log: readable on a terminal, as they are elsewhere; ends when the reader leaves."""
    try:
        yield _print_readable if console.out.is_terminal else _print_raw
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read has left


class Logs:
    """The logs of one process of a run, attempt by attempt."""

    def __init__(self, folder: RunFolder, name: str) -> None:
        """Find them.

        Raises:
            NotFound: the run has no such process.
        """
        students = student_names(read_snapshot(folder).spec)
        known = (*students, AGGREGATOR, RUNNER)
        if name not in known:
            raise NotFound(f"{name} is none of this run's processes: {', '.join(known)}")
        self.name = name
        self._folder = folder
        self._stem = f"{name}-" if name == AGGREGATOR else f"{name}-a"

    def attempts(self) -> list[int]:
        """List the attempts that have a log."""
        pattern = re.compile(rf"{re.escape(self._stem)}(\d+)\.log")
        names = [path.name for path in self._folder.logs.iterdir()] if self._folder.logs.is_dir() else []
        return sorted(int(found[1]) for name in names if (found := pattern.fullmatch(name)))

    def check(self, attempt: int) -> None:
        """See that this attempt has a log.

        Raises:
            NotFound: it has none.
            BadInput: the runner has no attempts.
        """
        if self.name == RUNNER:
            raise BadInput("the runner has one log for all its starts; leave out --attempt")
        known = self.attempts()
        if attempt in known:
            return
        if not known:
            raise self._nothing()
        there = f"is attempt {known[0]}" if len(known) == 1 else f"are attempts {known[0]} to {known[-1]}"
        raise NotFound(f"{self.name} has no log of attempt {attempt}; there {there}")

    def path(self, attempt: int) -> Path:
        """Name the log of an attempt."""
        return self._folder.logs / f"{self._stem}{attempt}.log"

    def number(self, path: Path) -> int:
        """Number the attempt whose log this is; 0 for the runner's."""
        return int(path.stem.removeprefix(self._stem)) if self.name != RUNNER else 0

    def newest(self, attempt: int | None) -> Path:
        """Find the log to show.

        Raises:
            NotFound: there is none yet.
        """
        if self.name == RUNNER:
            return self._folder.runner_log
        if attempt is None and not (known := self.attempts()):
            raise self._nothing()
        return self.path(known[-1] if attempt is None else attempt)

    def _nothing(self) -> NotFound:
        return NotFound(f"{self.name} has not been started in {self._folder.root} yet")


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from file
    except FileNotFoundError:
        return


def _follow(folder: RunFolder, logs: Logs, attempt: int | None) -> Iterator[bytes]:
    """Give the lines of an attempt, and of all after it if none was named, until nobody runs the job."""
    is_pinned = attempt is not None or logs.name == RUNNER
    path = logs.newest(attempt) if folder.runner() is None or is_pinned or logs.attempts() else logs.path(1)
    while True:
        yield from _tail(folder, logs, path)
        later = [logs.path(number) for number in logs.attempts() if number > logs.number(path)]
        if is_pinned or not later:
            return
        path = later[0]
        console.err.print(f"[dim]==> {path.name} <==[/]")


def _tail(folder: RunFolder, logs: Logs, path: Path) -> Iterator[bytes]:
    """Give a file's lines as they come, until no more can come: a later attempt has a log, or nobody runs the job."""
    position, torn = 0, b""
    while True:
        is_over = folder.runner() is None or any(number > logs.number(path) for number in logs.attempts())
        for chunk in _chunks(path, position):
            position += len(chunk)
            *whole, torn = (torn + chunk).split(b"\n")
            yield from (line + b"\n" for line in whole)
        if is_over:
            if torn:
                yield torn
            return
        time.sleep(LOOK_SECONDS)


def _chunks(path: Path, position: int) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            file.seek(position)
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
    except FileNotFoundError:
        return


def _print_raw(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


def _print_readable(line: bytes) -> None:
    console.out.print(readable(line.decode(errors="replace").rstrip("\n")), soft_wrap=True)


def readable(line: str) -> Text:
    """Write one line of a log for people: time, level, event and what belongs to it; other lines stay as they are."""
    try:
        record = json.loads(line)
    except ValueError:
        record = None
    if not isinstance(record, dict) or "event" not in record:
        return Text(line)
    level = str(record.get("level", ""))
    time_of_day = str(record.get("timestamp", ""))[11:19]
    details = [f"{key}={_value(value)}" for key, value in record.items() if key not in _TOLD_BY_THE_FILE]
    return Text.assemble(
        (f"{time_of_day:8} ", "dim"),
        (f"{level:7} ", _STYLES.get(level, "dim")),
        (str(record["event"]), "bold"),
        ("  " + " ".join(details) if details else "", "dim"),
    )


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return json.dumps(text, ensure_ascii=False) if " " in text and isinstance(value, str) else text
