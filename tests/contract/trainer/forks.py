"""Forks trainers out of one process that has imported torch once: real processes, without the seconds of their start.

Asked through a socket by `attempts.Forks`: a JSON message with arguments and environment, and four descriptors:
the trainer's standard input, output and error, and where its process number and its exit code are written.
"""

import json
import os
import socket
import sys
from contextlib import suppress
from typing import Any

from distilljob_trainer.main import main


def arguments_of_the_next(requests: socket.socket) -> list[str]:
    """Serve until the tests are over; returns in trainers only."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, 1 << 20, 4)
        if not message:
            break
        if os.fork() == 0:
            return fork_and_tell(requests, json.loads(message), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
    with suppress(ChildProcessError):
        while True:
            os.wait()
    sys.exit()


def fork_and_tell(
    requests: socket.socket, wanted: dict[str, Any], stdin: int, stdout: int, stderr: int, told: int
) -> list[str]:
    """Fork once more, and tell how that ends; returns in the trainer."""
    requests.close()
    if trainer := os.fork():
        for descriptor in (stdin, stdout, stderr):
            os.close(descriptor)
        os.write(told, b"%d\n" % trainer)
        os.write(told, b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(trainer, 0)[1]))
        os._exit(0)
    for number, descriptor in enumerate((stdin, stdout, stderr)):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.close(told)
    os.environ.clear()
    os.environ.update(wanted["environment"])
    return wanted["arguments"]


if __name__ == "__main__":  # workers that read samples import this module too
    import torch._dynamo  # noqa: F401  as the first optimizer would

    sys.exit(main(arguments_of_the_next(socket.socket(fileno=int(sys.argv[1])))))
