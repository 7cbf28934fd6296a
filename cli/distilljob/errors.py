"""What both doors say when they cannot go on: what is wrong, what to change, and the command line's exit code."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from distilljob_core.spec.base import Problem


class CommandError(Exception):
    """The command line prints it as one block, never as a traceback."""

    exit_code: ClassVar[int] = 1

    def __init__(self, title: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(title, problems)
        self.title = title
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n  ".join([self.title, *map(str, self.problems)])


class BadInput(CommandError):
    """Something that the user gave is wrong."""

    exit_code = 2


class NotFound(CommandError):
    """A file, folder or job that the user named does not exist."""

    exit_code = 3


class TimedOut(CommandError):
    """What was waited for did not come in time."""

    exit_code = 124


class MissingPart(CommandError):
    """A program or library that this needs is not installed; says which `pip install` brings it."""


class JobFailed(CommandError):
    """The job ended without a result. What it saved stays in the run directory."""

    def __init__(self, title: str, reason: str, log: Path | None, lines: Sequence[str], fix: str) -> None:
        """Say why.

        Args:
            title: one sentence.
            reason: a Reason of distilljob_core.conditions, or AggregatorEnded.
            log: of the process that failed; None if no process did.
            lines: the end of that log.
            fix: what to change; empty if nobody knows.
        """
        super().__init__(title)
        self.args = (title, reason, log, lines, fix)  # what makes it again in another process
        self.reason = reason
        self.log = log
        self.lines = tuple(lines)
        self.fix = fix

    def __str__(self) -> str:
        text = f"{self.title} ({self.reason})"
        if self.log is not None:
            text += "\n  ".join([f"\n{self.log} ends with", *self.lines])
        return text + (f"\nfix: {self.fix}" if self.fix else "")


class Stopped(Exception):
    """A signal asked the run to stop; everything is saved."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number
