"""Append-only files of records that outlive a crash: the uploaded frames of a student, and the journal.

    file   = magic, record, record, ...
    record = length of the payload u32 | xxh3_64 of length and payload u64 | payload         little-endian

Each checksum is seeded with the one before it, so what a disk may bring back from behind a cut can never follow a newer
record. An empty payload is no record; a run of zeros is none either.

A crash can only take what was not synced yet. Who remembers elsewhere how far a file was durable can tell a torn tail,
which is cut off, from damage, which is named.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from xxhash import xxh3_64

from distilljob_core.errors import StateLost, StorageFull
from distilljob_core.files import full_storage_named, write_atomically

MAGIC: Final = b"DJSPOOL1"
MAXIMUM_RECORD_BYTES: Final = 2**24

_LENGTH: Final = struct.Struct("<I")
_CHECKSUM: Final = struct.Struct("<Q")
_HEADER_BYTES: Final = _LENGTH.size + _CHECKSUM.size


class _Mark(NamedTuple):
    """Where a record ends, and its checksum."""

    end: int
    checksum: int


_START: Final = _Mark(len(MAGIC), 0)


class Spool:
    """One file of records. Opening it cuts off a torn tail; all that is left then is durable.

    Calls on one file must not overlap, and one process at a time may have it (see `DirectoryLock`).

    Args:
        path: the file; made when it does not exist.
        promised_bytes: how much of the file is known to have been durable; records that are bad within it were damaged.

    Raises:
        StateLost: the file is something else, or was damaged within the promised bytes; it is left alone.
        StorageFull: no space left for a new file.
    """

    def __init__(self, path: Path, *, promised_bytes: int = 0) -> None:
        self.path = path
        if not path.exists():
            write_atomically(path, MAGIC)
        self._descriptor = os.open(path, os.O_RDWR)
        try:
            self._last = self._durable = self._recover(promised_bytes)
        except BaseException:
            self.close()
            raise

    @property
    def size_bytes(self) -> int:
        """All records, durable or not."""
        return self._last.end

    @property
    def durable_bytes(self) -> int:
        """What a crash cannot take away any more."""
        return self._durable.end

    def append(self, payload: bytes | memoryview) -> None:
        """Hand one record to the operating system; `sync` makes it durable.

        Raises:
            StorageFull: no space left; what was written of the record is cut off again.
        """
        view = memoryview(payload).cast("B")
        if not 0 < view.nbytes <= MAXIMUM_RECORD_BYTES:
            raise ValueError(f"a record has 1 to {MAXIMUM_RECORD_BYTES} bytes, not {view.nbytes}")
        length = _LENGTH.pack(view.nbytes)
        checksum = _chained(self._last.checksum, length, view)
        try:
            with full_storage_named(self.path):
                self._write([memoryview(length + _CHECKSUM.pack(checksum)), view])
        except BaseException:
            os.ftruncate(self._descriptor, self._last.end)
            raise
        self._last = _Mark(self._last.end + _HEADER_BYTES + view.nbytes, checksum)

    def sync(self) -> None:
        """Make every record appended so far durable.

        Raises:
            StorageFull, OSError: the disk did not take them; all records after `durable_bytes` are gone, because
                after a failed fsync the operating system may have forgotten them.
        """
        last = self._last
        try:
            with full_storage_named(self.path):
                os.fdatasync(self._descriptor)
        except (OSError, StorageFull):
            self._last = self._durable
            os.ftruncate(self._descriptor, self._last.end)
            raise
        self._durable = last

    def replay(self) -> Iterator[bytes]:
        """Give the payloads of all records, oldest first.

        Raises:
            StateLost: the file was damaged since it was opened.
        """
        end, reached = self._last.end, _START.end
        for payload, mark in self._records(end):
            reached = mark.end
            yield payload
        if reached != end:
            raise StateLost(f"{self.path} was damaged at byte {reached} while in use")

    def close(self) -> None:
        """Give the file back without a sync."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _recover(self, promised_bytes: int) -> _Mark:
        head = os.pread(self._descriptor, len(MAGIC), 0)
        if not MAGIC.startswith(head):
            raise StateLost(f"{self.path} is no record file of this version; move it away to start without it")
        last = _START
        for _, mark in self._records(os.fstat(self._descriptor).st_size):
            last = mark
        if last.end < promised_bytes:
            raise StateLost(
                f"{self.path} is damaged at byte {last.end}, and was durable up to byte {promised_bytes}; "
                "the file was left as it was"
            )
        with full_storage_named(self.path):
            os.pwrite(self._descriptor, MAGIC, 0)
            os.ftruncate(self._descriptor, last.end)
            os.fdatasync(self._descriptor)
        return last

    def _records(self, limit: int) -> Iterator[tuple[bytes, _Mark]]:
        """Read records until one is invalid or passes the limit."""
        mark = _START
        while (record := self._record_behind(mark, limit)) is not None:
            yield record
            _, mark = record

    def _record_behind(self, mark: _Mark, limit: int) -> tuple[bytes, _Mark] | None:
        """Read the record that follows from this one; None when there is no sound one."""
        header = os.pread(self._descriptor, _HEADER_BYTES, mark.end)
        if len(header) < _HEADER_BYTES:
            return None
        (num_bytes,), (checksum,) = _LENGTH.unpack_from(header), _CHECKSUM.unpack_from(header, _LENGTH.size)
        start = mark.end + _HEADER_BYTES
        if not 0 < num_bytes <= MAXIMUM_RECORD_BYTES or start + num_bytes > limit:
            return None
        payload = os.pread(self._descriptor, num_bytes, start)
        if checksum != _chained(mark.checksum, header[: _LENGTH.size], payload):
            return None
        return payload, _Mark(start + num_bytes, checksum)

    def _write(self, parts: list[memoryview]) -> None:
        position = self._last.end
        while parts:
            written = os.pwritev(self._descriptor, parts, position)
            position += written
            while parts and written >= len(parts[0]):
                written -= len(parts.pop(0))
            if parts:
                parts[0] = parts[0][written:]


def _chained(seed: int, length: bytes, payload: bytes | memoryview) -> int:
    digest = xxh3_64(length, seed=seed)
    digest.update(payload)
    return digest.intdigest()
