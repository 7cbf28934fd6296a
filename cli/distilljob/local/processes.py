"""Children of the runner: started from the plan, seen to their end, never left behind.

A child holds the read end of a pipe as its standard input and leaves when it closes, so it ends with the runner
however that dies (`--exit-with-parent`). Each has a process group of its own: Ctrl-C reaches the runner alone, which
then asks its children to save.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from distilljob.errors import MissingPart
from distilljob_core.plan import Process

_NEEDED: Final = {
    "distilljob-aggregator": ("aggregator", ("aiohttp", "prometheus_client")),
    "distilljob-trainer": ("trainer", ("torch", "safetensors", "sklearn", "prometheus_client")),
}
"""Program -> the extra that brings it, and what it imports."""


class Child:
    """One running, or ended, process and its log."""

    def __init__(self, process: Process, popen: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log
        self._popen = popen

    @property
    def pid(self) -> int:
        """The operating system's number for it."""
        return self._popen.pid

    def exit_code(self) -> int | None:
        """Collect the child if it has ended: its code, 128 + n for a signal as pods report it, None while it runs."""
        code = self._popen.poll()
        return code if code is None or code >= 0 else 128 - code

    def terminate(self) -> None:
        """Ask it to save and leave."""
        self._popen.terminate()

    def kill(self) -> None:
        """End it now, with everything in its process group."""
        if self._popen.poll() is None:
            os.killpg(self._popen.pid, 9)


def start(process: Process, flags: Sequence[str], environment: Mapping[str, str], log: Path) -> Child:
    """Start one process of the plan.

    Args:
        process: argv and environment as in a pod.
        flags: what only a local process is told.
        environment: laid over the runner's own; the plan's is laid over both.
        log: gets its output, after what is already there.

    Raises:
        MissingPart: its program is not installed.
    """
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("DISTILLJOB_")}
    with log.open("ab") as output:
        popen = subprocess.Popen(
            [find_program(process.argv[0]), *process.argv[1:], "--exit-with-parent", *flags],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**inherited, "PYTHONUNBUFFERED": "1", **environment, **process.env},
            process_group=0,
        )
    return Child(process, popen, log)


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
