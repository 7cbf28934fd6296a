"""Starts programs as forks of a process that has imported them: see fork_server.py."""

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from select import select
from typing import IO


class Forked:
    """A process that was forked; it knows what tests need of `subprocess.Popen`."""

    def __init__(self, stdin: IO[str], stdout: IO[str], told: IO[str]) -> None:
        self.stdin, self.stdout, self._told = stdin, stdout, told
        self.pid = int(told.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Give the exit code, or the signal that ended it as a negative number; None while it lives."""
        if self.returncode is None and select([self._told], [], [], 0)[0]:
            self._read()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        if self.returncode is None and not select([self._told], [], [], timeout)[0]:
            raise TimeoutError(f"process {self.pid} lives on")
        return self._read() if self.returncode is None else self.returncode

    def send_signal(self, number: int) -> None:
        """Send one, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """End it, and close its pipes."""
        self.kill()
        self.wait()
        for pipe in (self.stdin, self.stdout):
            pipe.close()

    def _read(self) -> int:
        self.returncode = int(self._told.readline())
        self._told.close()
        return self.returncode


class Forks:
    """The process that programs are forked out of.

    Args:
        modules: what it imports; of a program, `main` is called.
    """

    def __init__(self, *modules: str) -> None:
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        server = str(Path(__file__).with_name("fork_server.py"))
        path = os.pathsep.join(filter(None, sys.path))
        with theirs:
            self._server = subprocess.Popen(
                [sys.executable, server, str(theirs.fileno()), *modules],
                env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path},
                pass_fds=[theirs.fileno()],
                process_group=0,
            )

    def start(
        self,
        module: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        *,
        stdout: int | None = None,
        stderr: int,
    ) -> Forked:
        """Start a program.

        Args:
            module: whose `main` it is.
            arguments: of the program.
            environment: all of it.
            stdout: where its standard output goes; None = a pipe.
            stderr: where its standard error goes.
        """
        (stdin, our_stdin), (our_stdout, piped), (our_told, told) = os.pipe(), os.pipe(), os.pipe()
        wanted = {"module": module, "arguments": list(arguments), "environment": dict(environment)}
        theirs = [stdin, piped if stdout is None else stdout, stderr, told]
        socket.send_fds(self._requests, [json.dumps(wanted).encode()], theirs)
        for descriptor in (stdin, piped, told):
            os.close(descriptor)
        return Forked(open(our_stdin, "w"), open(our_stdout), open(our_told, buffering=1))

    def close(self) -> None:
        """End all of them."""
        self._requests.close()
        self._server.wait()


@cache
def servants() -> Forks:
    """Give the process that aggregators and operators are forked out of, one for all tests of this process."""
    forks = Forks("distilljob_aggregator.main", "distilljob_operator.app", "distilljob_operator.reconcile")
    atexit.register(forks.close)
    return forks


@cache
def trainers() -> Forks:
    """Give the process that trainers are forked out of; torch is imported as far as the first optimizer would."""
    forks = Forks("distilljob_trainer.main", "torch._dynamo")
    atexit.register(forks.close)
    return forks
