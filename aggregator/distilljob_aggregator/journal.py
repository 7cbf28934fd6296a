"""The journal: events in the order in which they became durable.

Beside it stands how far it is durable. A bad record behind that is a torn tail: nobody heard of it, and it is cut off.
One before that was damaged: what it decided may have been told to students, so nothing is guessed.
"""

import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from xxhash import xxh3_64_intdigest

from distilljob_aggregator.rounds.events import Journaled, event_from_json, event_to_json
from distilljob_aggregator.spool import Spool
from distilljob_core.errors import StateLost
from distilljob_core.files import full_storage_named


class Journal:
    """One file of events; whoever holds the state directory's lock may write it.

    Raises:
        StateLost: the file is damaged; it is left alone.
        StorageFull: no space left for a new one.
    """

    def __init__(self, path: Path) -> None:
        self._durable = _DurableBytes(path.with_name(f"{path.name}.durable"))
        try:
            self._spool = Spool(path, promised_bytes=self._durable.read())
        except BaseException:
            self._durable.close()
            raise
        self._durable.write(self._spool.durable_bytes)

    def replay(self) -> Iterator[Journaled]:
        """Give all durable events, oldest first.

        Raises:
            StateLost: a record is no event of this version.
        """
        for number, record in enumerate(self._spool.replay(), 1):
            try:
                event = event_from_json(record)
            except ValidationError as error:
                raise StateLost(f"{self._spool.path}: record {number} is no event of this version: {error}") from error
            yield event

    def append(self, event: Journaled) -> None:
        """Make one event durable; StorageFull leaves no trace of it."""
        self._spool.append(event_to_json(event))
        self._spool.sync()
        self._durable.write(self._spool.durable_bytes)

    def close(self) -> None:
        """Give the files back."""
        self._spool.close()
        self._durable.close()


class _DurableBytes:
    """A number in a file of its own, replaced in place: number u64 | xxh3_64 of it u64, little-endian."""

    _NUMBER: Final = struct.Struct("<Q")

    def __init__(self, path: Path) -> None:
        with full_storage_named(path):
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)

    def read(self) -> int:
        """Give the number; 0 when there is none, or a torn one."""
        content = os.pread(self._descriptor, 2 * self._NUMBER.size, 0)
        number, checksum = content[: self._NUMBER.size], content[self._NUMBER.size :]
        is_sound = checksum == self._NUMBER.pack(xxh3_64_intdigest(number))
        return int.from_bytes(number, "little") if is_sound else 0

    def write(self, number: int) -> None:
        """Replace the number. A disk that does not take it costs the warning, never the event."""
        content = self._NUMBER.pack(number)
        with suppress(OSError):
            os.pwrite(self._descriptor, content + self._NUMBER.pack(xxh3_64_intdigest(content)), 0)
            os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Give the file back."""
        os.close(self._descriptor)
