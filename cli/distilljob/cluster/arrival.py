"""A file on its way to this machine: it appears under its name when it is whole, right and on disk."""

import hashlib
import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from distilljob.cluster.results import Content
from distilljob.errors import CommandError
from distilljob_core.files import NO_SPACE, sync_directory

_BLOCK_BYTES = 1 << 20


class Arrival:
    """What has arrived stays beside the file, under a hidden name with its checksum, and the next try goes on there.

    Raises:
        OSError: it cannot be written; of a disk that is full nothing stays, for it is full of it.
    """

    def __init__(self, path: Path, content: Content, on_bytes: Callable[[int], None]) -> None:
        """Prepare for a file.

        Args:
            path: where it will be.
            content: what it will hold.
            on_bytes: hears of bytes that are here.
        """
        self._on_bytes = on_bytes
        self._path = path
        self.content = content
        self._temporary = path.with_name(f".{path.name}.{content.sha256[:12]}.part")
        self._digest = hashlib.sha256()
        self.num_bytes = 0
        """How many have arrived."""

    def __enter__(self) -> Self:
        self._remove_parts_of_other_contents()
        self._file = self._temporary.open("a+b")
        self._file.seek(0)
        while block := self._file.read(_BLOCK_BYTES):
            self._count(block)
        if self.num_bytes > self.content.size_bytes:
            self._file.truncate(0)
            self._on_bytes(-self.num_bytes)
            self._digest, self.num_bytes = hashlib.sha256(), 0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):  # writes what is still buffered, which a full disk refuses again
            self._file.close()
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            self._temporary.unlink(missing_ok=True)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing any more."""
        return self.num_bytes >= self.content.size_bytes

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
        if Content(self.num_bytes, self._digest.hexdigest()) != self.content:
            self._temporary.unlink()
            raise CommandError(
                f"{self._path.name} has not the sha256 that was announced: it was damaged in the volume or on its way; "
                "give the command again"
            )
        self._temporary.replace(self._path)
        sync_directory(self._path.parent)

    def _remove_parts_of_other_contents(self) -> None:
        """Make room: the file has been another one when they began."""
        part = re.compile(rf"\.{re.escape(self._path.name)}\.[0-9a-f]{{12}}\.part")
        for path in self._path.parent.iterdir():
            if part.fullmatch(path.name) and path != self._temporary:
                path.unlink()

    def _count(self, chunk: bytes) -> None:
        self._digest.update(chunk)
        self.num_bytes += len(chunk)
        self._on_bytes(len(chunk))


def has_arrived(path: Path, content: Content) -> bool:
    """Whether the file is there with this content."""
    if not path.is_file() or path.stat().st_size != content.size_bytes:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == content.sha256
