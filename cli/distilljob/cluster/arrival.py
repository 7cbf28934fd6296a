"""A file on its way to this machine: it appears under its name when it is whole, right and on disk."""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from distilljob.errors import CommandError
from distilljob_core.files import sync_directory

_BLOCK_BYTES = 1 << 20


class Arrival:
    """What has arrived stays beside the file, under a hidden name with its checksum, and the next try goes on there.

    Raises:
        OSError: it cannot be written; nothing stays then, for a full disk is full of it.
    """

    def __init__(self, path: Path, size_bytes: int, sha256: str, on_bytes: Callable[[int], None]) -> None:
        """Prepare for a file.

        Args:
            path: where it will be.
            size_bytes: all of it.
            sha256: all of it, hexadecimal.
            on_bytes: hears of bytes that are here.
        """
        self._on_bytes = on_bytes
        self._path = path
        self._size_bytes = size_bytes
        self._sha256 = sha256
        self._temporary = path.with_name(f".{path.name}.{sha256[:12]}.part")
        self._digest = hashlib.sha256()
        self.num_bytes = 0
        """How many have arrived."""

    def __enter__(self) -> Self:
        self._file = self._temporary.open("a+b")
        self._file.seek(0)
        while block := self._file.read(_BLOCK_BYTES):
            self._count(block)
        if self.num_bytes > self._size_bytes:
            self._file.truncate(0)
            self._on_bytes(-self.num_bytes)
            self._digest, self.num_bytes = hashlib.sha256(), 0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # writes what is still buffered, which a full disk refuses again
            self._file.close()
        if isinstance(error, OSError):
            self._temporary.unlink(missing_ok=True)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing any more."""
        return self.num_bytes >= self._size_bytes

    def write(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._file.write(chunk)
        self._count(chunk)

    def finish(self) -> None:
        """Put the file in its place.

        Raises:
            CommandError: these are other bytes than were announced.
        """
        self._file.flush()
        os.fsync(self._file.fileno())
        if (self.num_bytes, self._digest.hexdigest()) != (self._size_bytes, self._sha256):
            self._temporary.unlink()
            raise CommandError(
                f"{self._path.name} has not the sha256 that was announced: it was damaged in the volume or on its way; "
                "give the command again"
            )
        self._temporary.replace(self._path)
        sync_directory(self._path.parent)

    def _count(self, chunk: bytes) -> None:
        self._digest.update(chunk)
        self.num_bytes += len(chunk)
        self._on_bytes(len(chunk))


def has_arrived(path: Path, sha256: str) -> bool:
    """Whether the file is there with this content."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256
