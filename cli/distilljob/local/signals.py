"""Signals as something a plain loop can wait for: nothing runs inside a handler but a note of what came."""

import select
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Signals:
    """Which signals asked to stop, in order of arrival; waits that a signal or a child's end cuts short."""

    def __init__(self) -> None:
        self.stops: list[int] = []
        self._wakeup, self._notify = socket.socketpair()
        for end in (self._wakeup, self._notify):
            end.setblocking(False)

    def wait(self, timeout_seconds: float) -> None:
        """Wait until the time is up, a child has ended or a signal has come."""
        select.select([self._wakeup], [], [], timeout_seconds)
        while self._drained():
            pass

    def _drained(self) -> bool:
        try:
            return bool(self._wakeup.recv(4096))
        except BlockingIOError:
            return False

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number in STOP_SIGNALS:
            self.stops.append(number)

    @contextmanager
    def installed(self) -> Iterator["Signals"]:
        """Listen within the block, in the main thread; Python gives signals to no other."""
        try:
            if threading.current_thread() is threading.main_thread():
                with self._handlers():
                    yield self
            else:
                yield self
        finally:
            self._wakeup.close()
            self._notify.close()

    @contextmanager
    def _handlers(self) -> Iterator[None]:
        """Handle what was not ignored before the block; then the earlier handlers come back."""
        heard = [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]  # nohup
        before = {number: signal.signal(number, self._on_signal) for number in (*heard, signal.SIGCHLD)}
        wakeup_before = signal.set_wakeup_fd(self._notify.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup_before)
            for number, handler in before.items():
                signal.signal(number, handler)
