"""The program `distilljob`. Its own imports are few, so that Ctrl-C is clean from the first moment."""

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from distilljob_core.exit_codes import ExitCode


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, run one command, return its exit code."""
    with _clean_interrupt():
        from distilljob.commands import run_command

        return run_command(arguments)


@contextmanager
def _clean_interrupt() -> Iterator[None]:
    """Let Ctrl-C end the program as SIGTERM would, without a traceback; commands may listen for themselves."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # ignored by nohup
        yield
        return
    signal.signal(signal.SIGINT, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(int(ExitCode.TERMINATED))


if __name__ == "__main__":
    sys.exit(main())
