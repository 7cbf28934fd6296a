"""A wall clock that is off by what a file says: eight bytes, a float, mapped, so that a step needs no system call."""

import mmap
import struct
import time

_NANOSECONDS = 1_000_000_000


def install(path: str) -> None:
    """Make time.time and time.time_ns of this process add the offset in the file."""
    with open(path, "rb") as file:
        offset = mmap.mmap(file.fileno(), struct.calcsize("d"), access=mmap.ACCESS_READ)
    true_seconds, true_ns = time.time, time.time_ns

    def offset_seconds() -> float:
        return float(struct.unpack_from("d", offset)[0])

    time.time = lambda: true_seconds() + offset_seconds()
    time.time_ns = lambda: true_ns() + int(offset_seconds() * _NANOSECONDS)
