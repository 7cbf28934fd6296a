"""Programs that end with the process that started them, and ports that nobody else takes meanwhile."""

import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from rig.build import RigError

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
POLL_SECONDS = 0.01


def dying_with(parent: int, told: signal.Signals = signal.SIGKILL) -> Callable[[], None]:
    """Make the `preexec_fn` of a process that gets this signal when the thread that starts it ends."""

    def die_with_parent() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, told)
        if os.getppid() != parent:
            os._exit(1)

    return die_with_parent


class Process:
    """A program on this machine with its output in a file.

    The kernel kills it when the thread that started it ends, however that ends: start it from the main thread.
    """

    def __init__(self, command: list[str], log: Path, environment: Mapping[str, str]) -> None:
        self.name = log.stem
        self.log = log
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(environment),
                start_new_session=True,  # a Ctrl-C is for the tests, which then stop this in order
                preexec_fn=dying_with(os.getpid()),
            )
        self.pid = self._popen.pid

    def check(self) -> None:
        """Raise if it has ended."""
        code = self._popen.poll()
        if code is not None:
            raise RigError(f"{self.name} ended with {code}; the end of its log:\n{self.tail()}")

    def has_said(self, text: str) -> bool:
        """Whether its log holds this text."""
        return text in self.log.read_text(errors="replace")

    def tail(self, lines: int = 15) -> str:
        """Return the last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def kill(self) -> None:
        """End it at once; nothing of it is worth a graceful stop."""
        self._popen.kill()
        self._popen.wait()


def only_child(pid: int) -> int:
    """Return the child of a process that has or will have exactly one. Raise ProcessLookupError if it has ended."""
    while not (children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            raise ProcessLookupError(f"process {pid} has ended")
        time.sleep(POLL_SECONDS)
    return int(children[0])


class Port:
    """A free port of the loopback interface, held for a server that binds with SO_REUSEPORT."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.number: int = self._socket.getsockname()[1]

    def listen(self) -> int:
        """Listen on it here; return the file descriptor, for the process that will accept."""
        self._socket.listen()
        return self._socket.fileno()

    def release(self) -> None:
        """Give it back."""
        self._socket.close()
