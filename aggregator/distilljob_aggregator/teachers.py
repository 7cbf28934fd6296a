"""Stored teachers: one file of frames for each closed round, written once, read by everybody."""

import os
from collections.abc import Iterable
from pathlib import Path

from distilljob_core.errors import BadFrame, StateLost
from distilljob_core.exchange import SPLIT_NAMES, RoundKey, SplitShape
from distilljob_core.files import write_atomically
from distilljob_core.softlabels.codecs import Codec
from distilljob_core.softlabels.frames import pack, rows_per_frame, unpack


class Teacher:
    """One open teacher; frames are read by position and sent as they are."""

    def __init__(self, path: Path, key: RoundKey, shape: SplitShape, codec: Codec) -> None:
        self.num_rows = shape.num_rows
        self._key = key
        self._bytes_per_row = codec.bytes_per_row(shape.num_classes)
        self._rows_per_frame = min(rows_per_frame(self._bytes_per_row), shape.num_rows)
        self._frame_bytes = len(self._pack(bytes(self._rows_per_frame * self._bytes_per_row), 0))
        self._descriptor = os.open(path, os.O_RDONLY)

    def frame(self, first_row: int) -> tuple[bytes, int]:
        """Give the frame that begins at this row, and the row after it.

        Raises:
            StateLost: the file was damaged; its uploads are gone, so it cannot be made again.
        """
        index, skipped = divmod(first_row, self._rows_per_frame)
        frame = os.pread(self._descriptor, self._frame_bytes, index * self._frame_bytes)
        try:
            _, rows = unpack(frame, self._bytes_per_row)
        except BadFrame as error:
            message = f"the teacher of {self._key} is damaged on the state volume; start the job anew"
            raise StateLost(message) from error
        if skipped:
            frame = self._pack(rows[skipped * self._bytes_per_row :], first_row)
        return frame, min((index + 1) * self._rows_per_frame, self.num_rows)

    def close(self) -> None:
        """Give the file back."""
        os.close(self._descriptor)

    def _pack(self, rows: bytes | memoryview, first_row: int) -> bytes:
        cycle, split = self._key.cycle, self._key.split
        return pack(rows, cycle=cycle, split=split, first_row=first_row, bytes_per_row=self._bytes_per_row)


class Teachers:
    """The folder of all stored teachers."""

    def __init__(self, folder: Path, codec: Codec) -> None:
        self._folder = folder
        self._codec = codec
        folder.mkdir(exist_ok=True)
        for leftover in folder.glob(".*.tmp"):
            leftover.unlink()

    def store(self, key: RoundKey, frames: Iterable[bytes]) -> None:
        """Write a teacher whole or not at all."""
        write_atomically(self._path(key), lambda file: file.writelines(frames))

    def has(self, key: RoundKey) -> bool:
        """Say whether a teacher's file is there."""
        return self._path(key).exists()

    def open(self, key: RoundKey, shape: SplitShape) -> Teacher:
        """Open a stored teacher."""
        return Teacher(self._path(key), key, shape, self._codec)

    def remove(self, key: RoundKey) -> None:
        """Delete a teacher; whoever is reading it may finish."""
        self._path(key).unlink(missing_ok=True)

    def _path(self, key: RoundKey) -> Path:
        return self._folder / f"{key.cycle:05}-{SPLIT_NAMES[key.split]}.frames"
