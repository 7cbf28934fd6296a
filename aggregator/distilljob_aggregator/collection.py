"""The soft labels of one round on their way in: a durable file for each upload, and the sum of all.

Shapes: N rows of the split, B rows of a block, K classes.
"""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Final

from distilljob_aggregator.accumulator import Accumulator
from distilljob_aggregator.rounds.state import Upload
from distilljob_aggregator.spool import Spool
from distilljob_core.errors import BadFrame, Conflict, NotOpen, RowsOutOfRange, StateLost
from distilljob_core.exchange import SPLIT_NAMES, CloseRecord, RoundKey, SplitShape
from distilljob_core.files import sync_directory
from distilljob_core.softlabels.codecs import Codec
from distilljob_core.softlabels.frames import pack, rows_per_frame, unpack
from distilljob_core.softlabels.grid import UPLOAD_TOLERANCE, check_row_sums

_SUFFIX: Final = ".rows"


@dataclass(slots=True)
class _Held:
    """One upload: its file, how far it is, and which frames it has."""

    upload: Upload
    spool: Spool
    lock: Lock = field(default_factory=Lock)
    checksums: dict[int, int] = field(default_factory=dict)
    """Of each frame, by its first row."""
    next_row: int = 0
    durable_rows: int = 0
    is_withdrawn: bool = False

    def note(self, first_row: int, num_rows: int, checksum: int) -> None:
        """Remember one more frame of the file."""
        self.checksums[first_row] = checksum
        self.next_row = first_row + num_rows

    def forget_rows_from(self, row: int) -> None:
        """Forget frames that the file has lost."""
        self.checksums = {first: checksum for first, checksum in self.checksums.items() if first < row}
        self.next_row = self.durable_rows = row

    def give_back(self) -> None:
        """Close the file once nobody is writing; later frames are refused."""
        with self.lock:
            self.is_withdrawn = True
            self.spool.close()


class Collection:
    """All uploads of the active round. Its methods block; different students' calls may overlap.

    The sum always holds what the files hold, or is marked stale (after a restart, or when a disk has lost rows); a
    stale sum is made again from the files before it is read.
    """

    def __init__(self, folder: Path, key: RoundKey, shape: SplitShape, codec: Codec) -> None:
        self.key = key
        self.folder = folder / f"{key.cycle:05}-{SPLIT_NAMES[key.split]}"
        self._shape = shape
        self._codec = codec
        self._bytes_per_row = codec.bytes_per_row(shape.num_classes)
        self._held: dict[str, _Held] = {}
        self._sum = Accumulator(shape.num_rows, shape.num_classes)
        self._is_stale = self.folder.exists()
        self.folder.mkdir(parents=True, exist_ok=True)
        sync_directory(folder)

    @property
    def spool_bytes(self) -> int:
        """Size of all files."""
        return sum(held.spool.size_bytes for held in list(self._held.values()))

    def align(self, uploads: Mapping[str, Upload]) -> dict[str, int]:
        """Hold exactly these uploads: others are taken out of the sum and removed, new ones begun, files re-read.

        Returns:
            The number of durable rows of each.
        """
        for student, held in list(self._held.items()):
            if student not in uploads or uploads[student].number != held.upload.number:
                self._withdraw(student)
        for student, upload in uploads.items():
            if student not in self._held:
                self._held[student] = self._load(student, upload)
        known = {held.spool.path for held in self._held.values()}
        for path in self.folder.iterdir():
            if path not in known:
                path.unlink()
        return {student: held.durable_rows for student, held in self._held.items()}

    def take(self, student: str, number: int, frame: bytes) -> int:
        """Check one frame, hand it to the operating system, and add it to the sum.

        Returns:
            Bytes of rows taken; 0 for a frame that was there already.

        Raises:
            BadFrame, ChecksumMismatch, RowsOutOfRange: not a frame of this round's rows; nothing happened.
            NotOpen: of another round, or the upload was withdrawn.
            Conflict: a frame that was there already, with other bytes.
            StorageFull: no space left; nothing happened.
        """
        header, rows = unpack(frame, self._bytes_per_row)
        if (header.cycle, header.split) != (self.key.cycle, self.key.split):
            raise NotOpen(f"rows of cycle {header.cycle}, {SPLIT_NAMES[header.split]}; collected is {self.key}")
        u_BK = self._codec.decode(rows, self._shape.num_classes)
        check_row_sums(u_BK, UPLOAD_TOLERANCE)
        held = self._find(student, number)
        with held.lock:
            if held.is_withdrawn:
                raise NotOpen("this upload was withdrawn; call Open again")
            if header.first_row < held.next_row:
                if held.checksums.get(header.first_row) != header.checksum:
                    raise Conflict(f"row {header.first_row} of {self.key} came again with other bytes")
                return 0
            if header.first_row > held.next_row or header.first_row + header.num_rows > self._shape.num_rows:
                raise RowsOutOfRange(
                    f"rows {header.first_row}..{header.first_row + header.num_rows - 1}; wanted are "
                    f"{held.next_row}..{self._shape.num_rows - 1} of {self.key}"
                )
            held.spool.append(frame)
            self._sum.add(header.first_row, u_BK, held.upload.offer.weight)
            held.note(header.first_row, header.num_rows, header.checksum)
        return len(rows)

    def sync(self, student: str, number: int) -> int:
        """Make an upload's rows durable; gives their number.

        Raises:
            StorageFull, OSError: rows since the last sync are lost.
            NotOpen: the upload was withdrawn.
        """
        held = self._find(student, number)
        with held.lock:
            if held.is_withdrawn:
                raise NotOpen("this upload was withdrawn; call Open again")
            try:
                held.spool.sync()
            except BaseException:
                self._is_stale = True
                held.forget_rows_from(held.durable_rows)
                raise
            held.durable_rows = held.next_row
            return held.durable_rows

    def teacher(self, record: CloseRecord) -> Iterator[bytes]:
        """Give the frames of a closed round's teacher: the exact sum, divided and rounded once.

        Raises:
            StateLost: a file was damaged; `recheck` says what is left of each.
        """
        if self._is_stale or record.uniform_fallback:
            self._sum_again(record)
        num_rows = self._shape.num_rows
        step = rows_per_frame(self._bytes_per_row)
        for first_row in range(0, num_rows, step):
            rows = self._sum.teacher_rows(first_row, min(step, num_rows - first_row), record.weight_sum, self._codec)
            yield pack(
                rows,
                cycle=self.key.cycle,
                split=self.key.split,
                first_row=first_row,
                bytes_per_row=self._bytes_per_row,
            )

    def recheck(self) -> dict[str, int]:
        """Read all files again; gives the number of sound rows of each."""
        self._is_stale = True
        for student, held in list(self._held.items()):
            del self._held[student]  # whatever happens now, nobody uses a closed file
            held.give_back()
            self._held[student] = self._load(student, held.upload)
        return {student: held.durable_rows for student, held in self._held.items()}

    def remove(self) -> None:
        """Close and delete all files."""
        self.close()
        shutil.rmtree(self.folder)

    def close(self) -> None:
        """Give all files back."""
        for held in self._held.values():
            held.give_back()
        self._held.clear()

    def _find(self, student: str, number: int) -> _Held:
        held = self._held.get(student)
        if held is None or held.upload.number != number:
            raise NotOpen(f"no upload {number} of {student}; call Open again")
        return held

    def _load(self, student: str, upload: Upload) -> _Held:
        """Open an upload's file, or make it; a damaged one gives the rows before the damage."""
        path = self.folder / f"{student}-{upload.number}{_SUFFIX}"
        try:
            spool = Spool(path)
        except StateLost:
            path.unlink()
            spool = Spool(path)
        held = _Held(upload, spool)
        for frame in spool.replay():
            header, _ = unpack(frame, self._bytes_per_row)
            held.note(header.first_row, header.num_rows, header.checksum)
        held.durable_rows = held.next_row
        return held

    def _withdraw(self, student: str) -> None:
        held = self._held.pop(student)
        with held.lock:
            held.is_withdrawn = True
            try:
                if not self._is_stale:
                    self._add_file(held, -held.upload.offer.weight)
            except (StateLost, BadFrame):
                self._is_stale = True
            held.spool.close()
            held.spool.path.unlink()

    def _sum_again(self, record: CloseRecord) -> None:
        del self._sum  # never two of them in memory
        self._sum = Accumulator(self._shape.num_rows, self._shape.num_classes)
        for part, weight in zip(record.contributions, record.weights_used(), strict=True):
            held = self._held[part.student]
            if held.durable_rows != self._shape.num_rows:
                raise StateLost(f"{held.spool.path} has {held.durable_rows} of {self._shape.num_rows} rows")
            self._add_file(held, weight)
        self._is_stale = False

    def _add_file(self, held: _Held, weight: int) -> None:
        for frame in held.spool.replay():
            header, rows = unpack(frame, self._bytes_per_row)
            self._sum.add(header.first_row, self._codec.decode(rows, self._shape.num_classes), weight)
