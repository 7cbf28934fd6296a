"""Single keys from a terminal, without Enter."""

import os
import select
import sys
import termios
import time
import tty
from types import TracebackType
from typing import Any, Self


class Keys:
    """Reads keys within the block; the terminal is left as it was."""

    def __init__(self) -> None:
        self._before: list[Any] | None = None

    def __enter__(self) -> Self:
        if sys.stdin.isatty():
            self._before = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)

    def pressed(self, timeout_seconds: float) -> str:
        """Wait for a key; empty when none came in time."""
        if self._before is None:
            time.sleep(timeout_seconds)
            return ""
        if not select.select([sys.stdin], [], [], timeout_seconds)[0]:
            return ""
        return os.read(sys.stdin.fileno(), 1).decode(errors="replace")
