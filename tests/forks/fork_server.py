"""Forks programs out of one process that has imported them once: real processes, without the seconds of their start.

`python fork_server.py DESCRIPTOR MODULE...`, asked through a socket by `forks.Forks`: a JSON message with module,
arguments and environment, and four descriptors: the program's standard input, output and error, and where its process
number and its exit code are written.
"""

import json
import os
import signal
import socket
import sys
from importlib import import_module
from typing import Any


def next_program(requests: socket.socket) -> dict[str, Any]:
    """Serve until the tests are over; returns in programs only."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, 1 << 20, 4)
        if not message:
            os.killpg(0, signal.SIGKILL)  # whoever started them is gone, and this process leads their group
        if os.fork() == 0:
            requests.close()
            return fork_and_tell(json.loads(message), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        reap()


def reap() -> None:
    """Collect those that have told how their programs ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


def fork_and_tell(wanted: dict[str, Any], stdin: int, stdout: int, stderr: int, told: int) -> dict[str, Any]:
    """Fork once more, and tell how that ends; returns in the program."""
    if program := os.fork():
        for descriptor in (stdin, stdout, stderr):
            os.close(descriptor)
        os.write(told, b"%d\n" % program)
        os.write(told, b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(program, 0)[1]))
        os._exit(0)
    for number, descriptor in enumerate((stdin, stdout, stderr)):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.close(told)
    # As in a process that was started: coverage has a handler of its own.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(wanted["environment"])
    sys.argv = [wanted["module"], *wanted["arguments"]]
    return wanted


def main() -> int:
    """Import everything, serve, and be the program that was asked for."""
    for module in sys.argv[2:]:
        import_module(module)
    wanted = next_program(socket.socket(fileno=int(sys.argv[1])))
    code: int = import_module(wanted["module"]).main()
    return code


if __name__ == "__main__":  # workers that read samples import this module too
    sys.exit(main())
