"""A wall clock that is off by what a file says: eight bytes, a float, mapped, so that a step needs no system call."""

import mmap
import struct
import sys
import time

_NANOSECONDS = 1_000_000_000


def install(path: str) -> None:
    """Make time.time and time.time_ns of this process add the offset in the file."""
    with open(path, "rb") as file:
        offset = mmap.mmap(file.fileno(), struct.calcsize("d"), access=mmap.ACCESS_READ)
    true_seconds, true_ns = time.time, time.time_ns

    def offset_seconds() -> float:
        # gRPC gives deadlines to its C core, which reads the kernel's clock: on a real machine both are set together.
        if sys._getframe(2).f_globals.get("__name__", "").startswith("grpc."):
            return 0.0
        return float(struct.unpack_from("d", offset)[0])

    def seconds() -> float:
        return true_seconds() + offset_seconds()

    def nanoseconds() -> int:
        return true_ns() + int(offset_seconds() * _NANOSECONDS)

    time.time, time.time_ns = seconds, nanoseconds
