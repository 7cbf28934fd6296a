"""A process's last words in its pod's status: what Kubernetes calls the termination message.

It is small JSON: the exit code that the process itself meant, what to tell the user, and of a finished student its
terminal record without the longest parts. Whatever else is found there (the end of a log, another trainer's words) is
a message and proves nothing.
"""

from typing import Any, Final

from pydantic import Field, ValidationError

from distilljob_core.results import Record, StudentSummary

MAXIMUM_BYTES: Final = 4096
"""Kubernetes keeps no more of it."""
_LEFT_OUT: Final[dict[str, Any]] = {
    "cycles": [],
    "environment": {},
    "ensemble": None,
    "inexact_reasons": [],
    "artifacts": [],
}


class Termination(Record):
    """How a process says it ended."""

    exit_code: int | None = Field(default=None, ge=0, le=255)
    """None where the process left no words of its own."""
    message: str = ""
    """For the user."""
    summary: StudentSummary | None = None
    """A finished student's terminal record, shortened."""


def termination_message(exit_code: int, message: str, summary: StudentSummary | None = None) -> str:
    """Write last words; a message that is too long is cut."""
    message = message.encode(errors="replace").decode()  # names of files may hold what is no text
    short = None if summary is None else summary.model_copy(update=_LEFT_OUT)
    while True:
        text = Termination(exit_code=int(exit_code), message=message, summary=short).model_dump_json(by_alias=True)
        over = len(text.encode()) - MAXIMUM_BYTES
        if over <= 0 or not message:
            return text
        message = message[: max(0, len(message) - max(1, over // 6))]  # one character takes six bytes at most


def read_termination_message(text: str, student: str) -> Termination:
    """Read a pod's termination message.

    Args:
        text: as it stands in the container's status; may be empty, or the end of a log.
        student: whose pod it is; the terminal record of somebody else is dropped.
    """
    try:
        read = Termination.model_validate_json(text)
    except ValidationError:
        return Termination(message=text.strip())
    if read.exit_code is None:
        return Termination(message=text.strip())
    if read.summary is not None and read.summary.name != student:
        return read.model_copy(update={"summary": None})
    return read
