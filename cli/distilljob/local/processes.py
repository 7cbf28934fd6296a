"""Children of the runner: started from the plan, seen to their end, never left behind.

A child holds the read end of a pipe as its standard input and leaves when it closes, so it ends with the runner
however that dies (`--exit-with-parent`). Each has a process group of its own: Ctrl-C reaches the runner alone, which
then asks its children to save.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from distilljob.errors import MissingPart
from distilljob_core.files import full_storage_named
from distilljob_core.plan import Process

_NEEDED: Final = {
    "distilljob-aggregator": ("aggregator", ("aiohttp", "prometheus_client")),
    "distilljob-trainer": ("trainer", ("torch", "safetensors", "sklearn", "prometheus_client")),
}
"""Program -> the extra that brings it, and what it imports."""


class Child:
    """One running, or ended, process and its log."""

    def __init__(self, process: Process, popen: subprocess.Popen[bytes], log: Path, now_seconds: float) -> None:
        self.process = process
        self.log = log
        self.started_seconds = now_seconds
        self.ended_seconds: float | None = None
        self.kill_at_seconds: float | None = None
        self._popen = popen

    @property
    def pid(self) -> int:
        """The operating system's number for it."""
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; 128 + n after signal n, as pods report it."""
        code = self._popen.returncode
        return code if code is None or code >= 0 else 128 - code

    def poll(self, now_seconds: float) -> int | None:
        """Collect it if it has ended, kill it if its grace is over; its exit code."""
        if self.ended_seconds is None and self._popen.poll() is not None:
            self.ended_seconds = now_seconds
            assert self._popen.stdin is not None
            self._popen.stdin.close()
        elif self.kill_at_seconds is not None and now_seconds >= self.kill_at_seconds:
            self.kill()
        return self.exit_code

    def terminate(self, kill_at_seconds: float) -> None:
        """Ask it, once, to save and leave; from `kill_at_seconds` on it is killed; the earliest moment counts."""
        if self._popen.poll() is not None:
            return
        if self.kill_at_seconds is None:
            self._popen.terminate()
            self._popen.send_signal(signal.SIGCONT)  # a stopped process can only leave when it goes on
        self.kill_at_seconds = min(kill_at_seconds, self.kill_at_seconds or kill_at_seconds)

    def kill(self) -> None:
        """End it now, with everything in its process group."""
        if self._popen.poll() is None:
            os.killpg(self._popen.pid, signal.SIGKILL)


def start(
    process: Process,
    flags: Sequence[str],
    environment: Mapping[str, str],
    log: Path,
    *,
    inherited_lock: int,
    now_seconds: float,
) -> Child:
    """Start one process of the plan.

    Args:
        process: argv and environment as in a pod.
        flags: what only a local process is told.
        environment: laid over the runner's own; the plan's is laid over both.
        log: gets its output, after what is already there.
        inherited_lock: descriptor that the child keeps open as long as it lives.
        now_seconds: the runner's clock.

    Raises:
        MissingPart: its program is not installed.
        StorageFull: there is no space for its log.
    """
    own = {key: value for key, value in os.environ.items() if not key.startswith("DISTILLJOB_")}
    with full_storage_named(log), log.open("ab") as output:
        popen = subprocess.Popen(
            [find_program(process.argv[0]), *process.argv[1:], "--exit-with-parent", *flags],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**own, "PYTHONUNBUFFERED": "1", **environment, **process.env},
            process_group=0,
            pass_fds=(inherited_lock,),
        )
    return Child(process, popen, log, now_seconds)


def find_program(name: str) -> str:
    """Find a console script: beside this Python first, then on the PATH.

    Raises:
        MissingPart: it is nowhere.
    """
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        extra = _NEEDED[name][0] if name in _NEEDED else "all"
        raise MissingPart(f"{name} is not installed: pip install 'distilljob[{extra}]'")
    return found


def check_installed() -> None:
    """See that aggregator and trainer can start here.

    Raises:
        MissingPart: names what is missing and the extra that brings it.
    """
    for name, (extra, modules) in _NEEDED.items():
        find_program(name)
        missing = [module for module in modules if find_spec(module) is None]
        if missing:
            raise MissingPart(f"{name} needs {', '.join(missing)}: pip install 'distilljob[{extra}]'")
