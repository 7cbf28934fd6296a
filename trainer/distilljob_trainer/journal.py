"""metrics.jsonl: one line for every measurement, each exactly once however often the run is resumed."""

import os
from pathlib import Path

from distilljob_core.files import full_storage_named
from distilljob_core.measurements import Measurement


class Journal:
    """Appends lines; what lies behind the offset of a checkpoint is cut off and written again.

    Args:
        path: the file.
        num_bytes: its length when the checkpoint was written. A file that is shorter now stays as it is.
    """

    def __init__(self, path: Path, num_bytes: int) -> None:
        self.path = path
        self._file = path.open("ab")
        self._file.truncate(min(num_bytes, self._file.tell()))
        self._file.seek(0, os.SEEK_END)  # truncating moves no position, and `sync` tells it

    def write(self, measurement: Measurement) -> None:
        """Append one line.

        Raises:
            StorageFull: no space left.
        """
        with full_storage_named(self.path):
            self._file.write(measurement.model_dump_json().encode() + b"\n")

    def sync(self) -> int:
        """Make all lines durable; gives the length of the file.

        Raises:
            StorageFull: no space left.
        """
        with full_storage_named(self.path):
            self._file.flush()
            os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        """Give the file back."""
        self._file.close()
