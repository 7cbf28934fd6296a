"""The run directory: everything a local run has on disk.

DIR/
├── job.yaml             the job as it was given, with --set applied; what `distilljob run` was last asked for
├── job.json             the snapshot all processes read; written once, with the job's uid, never changed
├── state.json           what the runner must not forget: attempts, restarts, drops, threads; written before each start,
│                        and every few seconds, with the newest round table
├── wishes.json          what `distilljob finish` asked for; the runner re-reads it
├── control.json         what the runner tells the aggregator, which re-reads it: where to stop, who has left
├── lock                 held by the runner for as long as it lives; names its process
├── processes.lock       held by the runner and by every process it started, until the last of them is gone
├── logs/                <student>-a<N>.log, one an attempt; aggregator-<N>.log, one a start; runner.log: all events
├── events.jsonl         everything the runner decided or saw
├── checkpoints/<student>/
├── state/               the aggregator's journal, spool and teachers; its two addresses while it runs
├── results/             what the students published: weights, metrics; the ensemble
├── result.json          everything that was measured, with the verdict
├── report.html          the same as a page
└── metrics.jsonl        one line an epoch, cycle and exchange of every student

A run that was killed anywhere goes on from these files alone.
"""

import fcntl
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

from distilljob.errors import BadInput
from distilljob_core import names
from distilljob_core.artifacts import METRICS_FILE, RESULT_FILE
from distilljob_core.errors import DistillJobError
from distilljob_core.files import DirectoryLock, temporary_of, write_atomically
from distilljob_core.plan import Places

RUN_MADE: Final = (
    "job.yaml",
    names.SPEC_FILE_NAME,
    "state.json",
    "wishes.json",
    names.CONTROL_FILE_NAME,
    "logs",
    "events.jsonl",
    "checkpoints",
    "state",
    "results",
    RESULT_FILE,
    "report.html",
    METRICS_FILE,
)
LEFTOVER_SECONDS: Final = 60
"""How long processes of a killed runner may take to notice and leave."""
ASKING_SECONDS: Final = 0.5
_CHILDREN_LOCK: Final = "processes.lock"
_LOCKS: Final = frozenset({"lock", _CHILDREN_LOCK})


class RunFolder:
    """Paths below one run directory, and the rules for touching it."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.job_yaml = self.root / "job.yaml"
        self.snapshot = self.root / names.SPEC_FILE_NAME
        self.state = self.root / "state.json"
        self.wishes = self.root / "wishes.json"
        self.control = self.root / names.CONTROL_FILE_NAME
        self.logs = self.root / "logs"
        self.events = self.root / "events.jsonl"
        self.runner_log = self.logs / "runner.log"
        self.results = self.root / "results"
        self.result = self.root / RESULT_FILE
        self.report = self.root / "report.html"
        self.metrics = self.root / METRICS_FILE
        self.grpc_address = self.root / "state" / "grpc.address"
        self.http_address = self.root / "state" / "http.address"

    def places(self, data: Path, student: str | None = None) -> Places:
        """Stand in for a pod's mounts; ports are the system's choice, on loopback."""
        return Places(
            config=str(self.root),
            data=str(data.absolute()),
            checkpoints=str(self.root / "checkpoints" / (student or "")),
            state=str(self.root / "state"),
            results=str(self.results),
            grpc_port=0,
            http_port=0,
            bind="127.0.0.1",
        )

    def make(self) -> None:
        """Make the folders that processes expect."""
        for name in ("logs", "checkpoints", "state", "results"):
            (self.root / name).mkdir(parents=True, exist_ok=True)

    def is_run(self) -> bool:
        """Say whether a run began here: its snapshot is the first file written."""
        try:
            snapshot = json.loads(self.snapshot.read_bytes())
        except (OSError, ValueError):
            return False
        return isinstance(snapshot, dict) and snapshot.get("kind") == "DistillJob"

    def check_usable(self) -> None:
        """Refuse a folder that holds something else than a run.

        Raises:
            BadInput: it is a file, cannot be read, or has contents that no run made.
        """
        with _bad_folder_named(self.root):
            if self.root.exists() and not self.root.is_dir():
                raise BadInput(f"{self.root} is a file; choose another folder")
            own = {*_LOCKS, temporary_of(self.snapshot).name}
            others = self.root.is_dir() and any(path.name not in own for path in self.root.iterdir())
        if others and not self.is_run():
            raise BadInput(f"{self.root} is neither empty nor a run directory; choose another folder")

    def clear(self) -> None:
        """Remove what a run made here, and nothing else; the snapshot last, so that a crash leaves a run directory."""
        for name in sorted(RUN_MADE, key=names.SPEC_FILE_NAME.__eq__):
            path = self.root / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[int]:
        """Hold the folder against other runners, and against what a killed runner's processes may still write.

        Yields:
            A descriptor for children to inherit; the folder counts as in use until all of them have closed it.

        Raises:
            BadInput: the folder cannot be made or written, another runner is at work here, or processes of an earlier
                one do not end.
        """
        with _bad_folder_named(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            runner_lock = self._runner_lock()
        with runner_lock, self._children_lock() as lock:
            if not _taken(lock, LEFTOVER_SECONDS):
                raise BadInput(f"{self.root}: processes of an earlier runner are still alive; end them first")
            yield lock.fileno()

    def runner(self) -> str | None:
        """Name the process that runs the job here; None if nobody does. Holds the folder for no longer than it asks."""
        try:
            lock = (self.root / "lock").open("rb")
        except OSError:
            return None
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return lock.read(32).decode(errors="replace") or "unknown"
        return None

    def _runner_lock(self) -> DirectoryLock:
        """Take the runner's lock; whoever merely asks who holds it is out of the way at once."""
        until_seconds = time.monotonic() + ASKING_SECONDS
        while True:
            try:
                return DirectoryLock(self.root)
            except DistillJobError as error:
                if time.monotonic() >= until_seconds:
                    raise BadInput(f"another runner is at work: {error}") from None
                time.sleep(0.05)

    def _children_lock(self) -> BinaryIO:
        with _bad_folder_named(self.root):
            return (self.root / _CHILDREN_LOCK).open("wb")


@contextmanager
def _bad_folder_named(root: Path) -> Iterator[None]:
    """Turn the operating system's refusal into words for whoever chose the folder."""
    try:
        yield
    except OSError as error:
        raise BadInput(f"{root} cannot be used: {error.strerror}; choose another folder") from None


def _taken(lock: BinaryIO, patience_seconds: float) -> bool:
    """Take a lock as soon as it is free; whether that was in time."""
    until_seconds = time.monotonic() + patience_seconds
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until_seconds:
                return False
            time.sleep(0.05)
        else:
            return True


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write one JSON object atomically, readable for people."""
    write_atomically(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())
