"""What the command line says when it cannot go on: what is wrong, what to change, and an exit code."""

from collections.abc import Sequence
from typing import ClassVar

from distilljob_core.spec.base import Problem


class CommandError(Exception):
    """Printed as one block, never as a traceback."""

    exit_code: ClassVar[int] = 1

    def __init__(self, title: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(title)
        self.problems = tuple(problems)


class BadInput(CommandError):
    """Something that the user gave is wrong."""

    exit_code = 2


class NotFound(CommandError):
    """A file or folder that the user named does not exist."""

    exit_code = 3


class MissingPart(CommandError):
    """A program or library that this command needs is not installed."""
