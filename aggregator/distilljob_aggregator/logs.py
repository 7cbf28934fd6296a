"""Logs: readable on a terminal, JSON otherwise, with the job on every line."""

import os
import sys
from contextlib import suppress
from io import TextIOBase
from typing import Final, TextIO, cast

import structlog

_STDERR: Final = 2


class _Stderr(TextIOBase):
    """Unbuffered; a line that a full disk does not take is lost, and nothing else."""

    def write(self, text: str, /) -> int:
        with suppress(OSError):
            os.write(_STDERR, text.encode())
        return len(text)


def configure_logs(job: str) -> None:
    """Set up structlog for this process; logs go to stderr."""
    readable = sys.stderr.isatty()
    renderer = structlog.dev.ConsoleRenderer() if readable else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, _Stderr())),
    )
    structlog.contextvars.bind_contextvars(job=job)
