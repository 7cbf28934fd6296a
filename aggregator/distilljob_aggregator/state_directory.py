"""The state directory: the active round's uploads and all stored teachers. Everything here blocks.

lock  journal  journal.durable  grpc.address  http.address
spool/00001-train/<student>-<upload>.rows
teachers/00001-train.frames
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from threading import Lock

from distilljob_aggregator.collection import Collection
from distilljob_aggregator.rounds.state import State
from distilljob_aggregator.teachers import Teacher, Teachers
from distilljob_core.errors import NotOpen, StateLost
from distilljob_core.exchange import CloseRecord, RoundKey
from distilljob_core.files import sync_directory
from distilljob_core.softlabels.codecs import codec


class StateDirectory:
    """Follows the state: holds the uploads that it names, and the teachers that it says are stored."""

    def __init__(self, folder: Path, codec_name: str) -> None:
        self._codec = codec(codec_name)
        self._spool = folder / "spool"
        self._spool.mkdir(exist_ok=True)
        self._teachers = Teachers(folder / "teachers", self._codec)
        sync_directory(folder)
        self._collection: Collection | None = None
        self._aligning = Lock()

    @property
    def spool_bytes(self) -> int:
        """Size of all uploads."""
        collection = self._collection
        return 0 if collection is None else collection.spool_bytes

    def load(self, state: State) -> dict[str, int]:
        """Follow a recovered state: keep what it names, delete the rest; gives the durable rows of each upload.

        Raises:
            StateLost: a teacher that was stored is not there.
        """
        for key in state.stored:
            if not self._teachers.has(key):
                raise StateLost(f"the teacher of {key} is gone from the state volume; start the job anew")
        for key in state.forgotten:
            self._teachers.remove(key)
        rows = self.align(lambda: state)
        for folder in self._spool.iterdir():
            if self._collection is None or folder != self._collection.folder:
                shutil.rmtree(folder)
        return rows

    def align(self, read_state: Callable[[], State]) -> dict[str, int]:
        """Hold exactly the uploads that the state names now; gives the durable rows of each. Those of a round that has
        ended are deleted.

        The state is read when it is this call's turn: an older one would take newer uploads away.
        """
        with self._aligning:
            state = read_state()
            if self._collection is not None and self._collection.key != state.active:
                self._collection.remove()
                self._collection = None
            if self._collection is None:
                if state.active is None or not state.uploads:
                    return {}
                shape = state.splits[state.active.split]
                self._collection = Collection(self._spool, state.active, shape, self._codec)
            return self._collection.align(state.uploads)

    def take(self, student: str, upload: int, frame: bytes) -> int:
        """Take one frame of an upload; gives its size in bytes. Errors: see Collection.take."""
        return self._collecting().take(student, upload, frame)

    def sync(self, student: str, upload: int) -> int:
        """Make an upload's rows durable; gives their number. Errors: see Collection.sync."""
        return self._collecting().sync(student, upload)

    def store_teacher(self, state: State, record: CloseRecord) -> None:
        """Make a closed round's teacher and store it.

        Raises:
            StateLost: an upload was damaged; `recheck` says what is left.
            StorageFull: no space left for it.
        """
        self.align(lambda: state)
        self._teachers.store(record.round, self._collecting().teacher(record))

    def recheck(self) -> dict[str, int]:
        """Read all uploads again; gives the sound rows of each."""
        with self._aligning:
            return self._collecting().recheck()

    def open_teacher(self, state: State, key: RoundKey) -> Teacher:
        """Open a stored teacher for reading."""
        return self._teachers.open(key, state.splits[key.split])

    def forget_teacher(self, key: RoundKey) -> None:
        """Delete a teacher."""
        self._teachers.remove(key)

    def close(self) -> None:
        """Give all files back."""
        if self._collection is not None:
            self._collection.close()

    def _collecting(self) -> Collection:
        collection = self._collection
        if collection is None:
            raise NotOpen("no round is being collected; call Open first")
        return collection
