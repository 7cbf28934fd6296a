"""Leaving early without losing anything: on SIGTERM, when parked, when the parent has gone."""

import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import FrameType

from distilljob_core.exit_codes import ExitCode


class Left(Exception):
    """The run was left where it stood; everything is still to be saved."""

    def __init__(self, code: ExitCode) -> None:
        super().__init__(code.name)
        self.code = code


class Leaving:
    """The wish to leave, made in any thread or signal handler, and carried out by the main thread between two steps."""

    def __init__(self) -> None:
        self._code: ExitCode | None = None
        self._news: SimpleQueue[None] = SimpleQueue()  # unlike threading.Event, safe to use in a signal handler

    def request(self, code: ExitCode) -> None:
        """Wish to leave with this exit code; the first wish counts."""
        if self._code is None:
            self._code = code
        self.nudge()

    def check(self) -> None:
        """Raise Left when somebody wishes so."""
        if self._code is not None:
            raise Left(self._code)

    def nudge(self) -> None:
        """End the waiting of another thread without a wish to leave."""
        self._news.put(None)

    def wait(self, seconds: float) -> bool:
        """Wait for a wish or a nudge, at most so long; says whether there is a wish. For one thread only."""
        with suppress(Empty):
            self._news.get(timeout=seconds)
        return self._code is not None


def leave_at_once_on_signals() -> None:
    """End on SIGTERM and SIGINT with code 143, all stacks on stderr: there is nothing to save yet.

    An exception would not do: where Python calls back, as it does all the time while it imports, it is swallowed.
    """
    _handle(lambda: os._exit(ExitCode.TERMINATED))


def leave_in_order_on_signals(leaving: Leaving) -> None:
    """Wish to leave on SIGTERM and SIGINT, all stacks on stderr."""
    _handle(lambda: leaving.request(ExitCode.TERMINATED))


def leave_with_parent() -> None:
    """Send this process a SIGTERM when its standard input ends: whoever started it is gone."""

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="distilljob-parent", daemon=True).start()


def _handle(react: Callable[[], object]) -> None:
    def handler(_number: int, _frame: FrameType | None) -> None:
        react()

    faulthandler.unregister(
        signal.SIGTERM
    )  # it writes from C, whatever the main thread is stuck in, and then calls ours
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)
    faulthandler.register(signal.SIGTERM, all_threads=True, chain=True)
