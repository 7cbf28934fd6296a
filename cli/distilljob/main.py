"""The program `distilljob`. Its own imports are few, so that signals are a clean end from the first moment."""

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from distilljob_core.exit_codes import ExitCode


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, run one command, return its exit code."""
    with _clean_end():
        from distilljob.commands import run_command

        return run_command(arguments)


@contextmanager
def _clean_end() -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and SIGHUP end the program with one exit code and no traceback; commands may listen too."""
    defaults = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,  # the terminal is gone
    }
    heard = {number: default for number, default in defaults.items() if signal.getsignal(number) is default}  # nohup
    for number in heard:
        signal.signal(number, _leave)
    try:
        yield
    finally:
        for number, default in heard.items():
            signal.signal(number, default)


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(int(ExitCode.TERMINATED))


if __name__ == "__main__":
    sys.exit(main())
