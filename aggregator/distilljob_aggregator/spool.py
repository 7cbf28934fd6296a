"""Append-only files of records that outlive a crash: the uploaded frames of a student, and the journal.

    file   = magic, record, record, ...
    record = length of the payload u32 | xxh3_64 of length and payload u64 | payload         little-endian

Each checksum is seeded with the one before it, so what a disk may bring back from behind a cut can never follow a newer
record. An empty payload is no record; a run of zeros is none either.

Where every record is synced before the next is appended, a crash can tear the last one only: a sound record behind a
bad one then proves that a disk lost what it had promised to keep.
"""

import os
import struct
from collections import defaultdict
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


class _Record(NamedTuple):
    """What stands at some place of a file; sound when its checksum follows from the one before it."""

    end: int
    checksum: int
    length: bytes
    payload: bytes

    def follows(self, checksum: int) -> bool:
        """Say whether it is sound behind a record of this checksum."""
        return self.checksum == _chained(checksum, self.length, self.payload)


class Spool:
    """One file of records. Opening it cuts off a torn tail; all that is left then is durable.

    Calls on one file must not overlap, and one process at a time may have it (see `DirectoryLock`).

    Args:
        path: the file; made when it does not exist.
        syncs_each_record: nothing is ever appended behind a record that is not synced; else what follows a bad record
            may be the unsynced rest of a group, and is cut off with it.

    Raises:
        StateLost: the file exists and is something else, or was damaged before its last record; it is left alone.
        StorageFull: no space left for a new file.
    """

    def __init__(self, path: Path, *, syncs_each_record: bool = False) -> None:
        self.path = path
        self._syncs_each_record = syncs_each_record
        if not path.exists():
            write_atomically(path, MAGIC)
        self._descriptor = os.open(path, os.O_RDWR)
        try:
            self._last = self._durable = self._recover()
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

    def _recover(self) -> _Mark:
        head = os.pread(self._descriptor, len(MAGIC), 0)
        if not MAGIC.startswith(head):
            raise StateLost(f"{self.path} is no record file of this version; move it away to start without it")
        last, size_bytes = _START, os.fstat(self._descriptor).st_size
        for _, mark in self._records(size_bytes):
            last = mark
        if self._syncs_each_record and self._has_sound_record_behind(last, size_bytes):
            raise StateLost(f"{self.path} is damaged at byte {last.end}, in the middle; the file was left as it is")
        with full_storage_named(self.path):
            os.pwrite(self._descriptor, MAGIC, 0)
            os.ftruncate(self._descriptor, last.end)
            os.fdatasync(self._descriptor)
        return last

    def _records(self, limit: int) -> Iterator[tuple[bytes, _Mark]]:
        """Read records until one is invalid or passes the limit."""
        mark = _START
        while (record := self._record_at(mark.end, limit)) is not None and record.follows(mark.checksum):
            mark = _Mark(record.end, record.checksum)
            yield record.payload, mark

    def _record_at(self, position: int, limit: int) -> _Record | None:
        """Read what stands here, sound or not; None when it is too short or too long for a record."""
        header = os.pread(self._descriptor, _HEADER_BYTES, position)
        if len(header) < _HEADER_BYTES:
            return None
        (num_bytes,), (checksum,) = _LENGTH.unpack_from(header), _CHECKSUM.unpack_from(header, _LENGTH.size)
        start = position + _HEADER_BYTES
        if not 0 < num_bytes <= MAXIMUM_RECORD_BYTES or start + num_bytes > limit:
            return None
        payload = os.pread(self._descriptor, num_bytes, start)
        return _Record(start + num_bytes, checksum, header[: _LENGTH.size], payload)

    def _has_sound_record_behind(self, last: _Mark, limit: int) -> bool:
        """Say whether a record follows from the bad one behind `last`, or from any other behind that.

        Looks at every byte, because the damage may be in a length; follows from the checksum that the bad record
        holds and from the one that it should hold, because the damage may be in either.
        """
        held = os.pread(self._descriptor, _CHECKSUM.size, last.end + _LENGTH.size)
        anywhere = set(_CHECKSUM.unpack(held)) if len(held) == _CHECKSUM.size else set()
        behind: defaultdict[int, set[int]] = defaultdict(set)
        for position in range(last.end, limit):
            record = self._record_at(position, limit)
            if record is None:
                continue
            if any(record.follows(checksum) for checksum in anywhere | behind.pop(position, set())):
                return True
            behind[record.end] |= {record.checksum, _chained(last.checksum, record.length, record.payload)}
        return False

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
