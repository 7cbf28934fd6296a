"""Whenever the aggregator dies, whatever the disk had not promised yet: what was told holds, and is told again.

Coordinator, worker, journal, spool and teachers are the real ones over real files. One undisturbed run is watched, and
what a crash could leave is kept at each write: all of it (kill -9), only what was synced (power cut), and the file that
is being synced cut at every byte. From each of these the aggregator starts again and the students go on.
"""

import asyncio
import copy
import errno
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import structlog.testing
from grpc.aio import EOF
from prometheus_client import CollectorRegistry

from distilljob_aggregator import uploads
from distilljob_aggregator import worker as worker_module
from distilljob_aggregator.coordinator import Coordinator
from distilljob_aggregator.journal import Journal
from distilljob_aggregator.ledger import Ledger, recover
from distilljob_aggregator.metrics import AggregatorMetrics
from distilljob_aggregator.results_volume import ResultsVolume
from distilljob_aggregator.rounds.events import Counted, Started
from distilljob_aggregator.rounds.plan import Plan
from distilljob_aggregator.state_directory import StateDirectory
from distilljob_aggregator.worker import Worker
from distilljob_core.clock import SteadyClock
from distilljob_core.errors import NotOpen, Retryable
from distilljob_core.exchange import CloseRecord, Identity, NeedRows, NotYet, Offer, RoundKey, SplitShape
from distilljob_core.files import sync_directory
from distilljob_core.softlabels.codecs import codec
from distilljob_core.softlabels.frames import Split, pack, unpack

NUM_CLASSES = 2
SHAPES = {Split.TRAIN: SplitShape(5, NUM_CLASSES, "train"), Split.EVALUATION: SplitShape(3, NUM_CLASSES, "test")}
FLOAT16 = codec("Float16")
BYTES_PER_ROW = FLOAT16.bytes_per_row(NUM_CLASSES)
FIRST = asyncio.FIRST_COMPLETED
WEIGHTS = {"a": 7, "b": 4, "c": 9}

Image = dict[str, bytes | None]
"""Content of each file, None for a folder, by path."""


class AtOnce(Executor):
    """Does everything where it is asked for, so that a run is the same each time."""

    def submit(self, work, /, *args, **kwargs):
        done = Future()
        try:
            done.set_result(work(*args, **kwargs))
        except BaseException as error:
            done.set_exception(error)
        return done


def tree(root: Path | str, prefix: str = "") -> Image:
    found: Image = {}
    with os.scandir(root) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir():
                found[prefix + entry.name] = None
                found |= tree(entry.path, f"{prefix}{entry.name}/")
            else:
                with open(entry.path, "rb") as file:
                    found[prefix + entry.name] = file.read()
    return found


class Shelf:
    """A folder that is set to images; writes only what differs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir()

    def put(self, image: Image) -> Path:
        now = tree(self.root)
        for name in sorted(now.keys() - image.keys(), reverse=True):
            (self.root / name).rmdir() if now[name] is None else (self.root / name).unlink()
        for name, content in image.items():
            if content is None:
                (self.root / name).mkdir(exist_ok=True)
            elif name not in now or now[name] != content:
                (self.root / name).write_bytes(content)
        return self.root


class Disk:
    """Watches a folder: each step, and what of it a power cut could not take.

    What is there already is durable, but for what files have more than in `safe`.
    """

    def __init__(self, root: Path, on_step: Callable[["Disk", str, str], None], safe: Image | None = None) -> None:
        self.root = root
        self._on_step = on_step
        self._synced: dict[int, bytes] = {}
        self._names: dict[int, dict[str, int]] = {}
        self._pins: list[int] = []
        self._note_folder(root)
        for path in root.rglob("*"):
            if path.is_dir():
                self._note_folder(path)
            else:
                self._pins.append(os.open(path, os.O_RDONLY))
                content, durable = path.read_bytes(), (safe or {}).get(str(path.relative_to(root)))
                has_grown = durable is not None and content.startswith(durable)
                self._synced[path.stat().st_ino] = durable if durable is not None and has_grown else content

    def survivors(self) -> Image:
        """What was synced, under names that were synced."""
        image: Image = {}

        def walk(number: int, prefix: str) -> None:
            for name, inode in sorted(self._names.get(number, {}).items()):
                is_folder = inode in self._folders
                image[prefix + name] = None if is_folder else self._synced.get(inode, b"")
                if is_folder:
                    walk(inode, f"{prefix}{name}/")

        walk(self.root.stat().st_ino, "")
        return image

    @contextmanager
    def watched(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("fsync", "fdatasync"):
                patch.setattr(os, name, self._wrapped_sync(getattr(os, name)))
            for name in ("replace", "unlink", "rmdir", "mkdir", "ftruncate", "pwrite", "pwritev"):
                patch.setattr(os, name, self._wrapped(name, getattr(os, name)))
            yield
        for pin in self._pins:
            os.close(pin)

    def _wrapped_sync(self, _real):
        def sync(descriptor: int) -> None:
            path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
            name = str(path.relative_to(self.root))
            if path.is_dir():
                self._note_folder(path)
            else:
                content, inode = path.read_bytes(), os.fstat(descriptor).st_ino
                self._on_step(self, "before sync", name)
                if inode not in self._synced:
                    self._pins.append(os.dup(descriptor))  # else its number might be given to another file
                self._synced[inode] = content
            self._on_step(self, "sync", name)

        return sync

    def _wrapped(self, kind: str, real):
        def step(first, *rest, **options):
            at = options.get("dir_fd")
            if isinstance(first, int):
                path = Path(os.readlink(f"/proc/self/fd/{first}"))
            else:
                path = Path(first) if at is None else Path(os.readlink(f"/proc/self/fd/{at}")) / first
            if not path.is_relative_to(self.root):
                return real(first, *rest, **options)
            result = real(first, *rest, **options)
            self._on_step(self, kind, str(path.relative_to(self.root)))
            return result

        return step

    def synced_of(self, name: str) -> bytes:
        return self._synced.get((self.root / name).stat().st_ino, b"")

    @property
    def _folders(self) -> set[int]:
        return set(self._names) | {path.stat().st_ino for path in self.root.rglob("*/")}

    def _note_folder(self, path: Path) -> None:
        self._names[path.stat().st_ino] = {child.name: child.stat().st_ino for child in path.iterdir()}


@dataclass
class Pupil:
    """What a student remembers; its checkpoints hold the lessons."""

    name: str
    rows_at_once: int = 3
    attempt: int = 1
    token: int = 0
    acked: dict[RoundKey, int] = field(default_factory=dict)
    uploaded: set[RoundKey] = field(default_factory=set)
    records: dict[RoundKey, CloseRecord] = field(default_factory=dict)
    lessons: dict[RoundKey, bytes] = field(default_factory=dict)
    has_finished: bool = False
    log: list = field(default_factory=list)

    def next_attempt(self) -> "Pupil":
        """Killed and started again: it has its lessons, and makes all else anew."""
        return Pupil(self.name, self.rows_at_once, self.attempt + 1, lessons=self.lessons, records=self.records)

    def next_round(self) -> RoundKey | None:
        done = sorted(self.lessons)
        if not done:
            return RoundKey(1)
        if done[-1].split is Split.EVALUATION:
            return None
        cycle = done[-1].cycle
        return RoundKey(cycle, Split.EVALUATION) if self.records[done[-1]].last else RoundKey(cycle + 1)

    async def live(self, coordinator: Coordinator, summary) -> None:
        if not self.token:
            who = Identity("uid", self.name, self.attempt, f"{self.name}-{self.attempt}")
            seen = max((key.cycle for key in self.lessons if key.split is Split.TRAIN), default=0)
            self.token = (await coordinator.join(who, SHAPES, seen)).token
            self.log.append(("ack", "Admitted", self.name))
        while (key := self.next_round()) is not None:
            await self._attend(coordinator, key)
        if not self.has_finished:
            await coordinator.finish(self.name, self.token, summary(self.name, attempt=1))
            self.has_finished = True
            self.log.append(("ack", "Finished", self.name))

    async def _attend(self, coordinator: Coordinator, key: RoundKey) -> None:
        while key not in self.uploaded:
            try:
                await self._upload(coordinator, key)
            except (Retryable, NotOpen):
                await asyncio.sleep(0)
        while isinstance(answer := await coordinator.wait(self.name, self.token, key), NotYet | NeedRows):
            assert not isinstance(answer, NeedRows), f"{self.name} was told that its rows of {key} are safe"
        assert self.records.setdefault(key, answer) == answer, "a round was decided twice"
        self.log.append(("ack", "served", str(key)))
        async with aclosing(coordinator.teacher(self.name, self.token, key, 0)) as frames:
            self.lessons[key] = b"".join([bytes(unpack(frame, BYTES_PER_ROW)[1]) async for frame in frames])

    async def _upload(self, coordinator: Coordinator, key: RoundKey) -> None:
        weight = WEIGHTS[self.name]
        offer = Offer(key, weight, weight, 10, "Float16", f"{self.name}-{key}", 0.5)
        answer = await coordinator.open(self.name, self.token, offer)
        if isinstance(answer, CloseRecord):
            assert self.records.setdefault(key, answer) == answer, "a round was decided twice"
        else:
            assert answer >= self.acked.get(key, 0), f"rows of {self.name} were lost that it was told are safe"
            self.log.append(("ack", "Opened", self.name))
            await self._stream(coordinator, key, answer)
        self.uploaded.add(key)

    async def _stream(self, coordinator: Coordinator, key: RoundKey, row: int) -> None:
        codes, step = codes_of(self.name, key), self.rows_at_once
        frames = iter(
            pack(codes[at : at + step], cycle=key.cycle, split=key.split, first_row=at, bytes_per_row=BYTES_PER_ROW)
            for at in range(row, len(codes), step)
        )

        async def read():
            return next(frames, EOF)

        async def acknowledge(num_rows: int) -> None:
            self.acked[key] = num_rows
            self.log.append(("ack", "rows", self.name))

        if row < len(codes):
            async with coordinator.upload(self.name, self.token) as stream:
                await stream.run(read, acknowledge)


def codes_of(student: str, key: RoundKey) -> np.ndarray:
    p_NK = np.random.default_rng([key.cycle, key.split, ord(student)]).dirichlet([1, 1], SHAPES[key.split].num_rows)
    return FLOAT16.encode(p_NK.astype(np.float32))


def reference(record: CloseRecord) -> bytes:
    """The teacher in exact rational arithmetic, from the record alone."""
    total_NK: np.ndarray | int = 0
    for part, weight in zip(record.contributions, record.weights_used(), strict=True):
        u_NK = FLOAT16.decode(codes_of(part.student, record.round).tobytes(), NUM_CLASSES)
        total_NK = total_NK + weight * np.vectorize(int, otypes=[object])(u_NK)
    mean_NK = np.vectorize(lambda total: float(Fraction(total, record.weight_sum)))(total_NK)
    return FLOAT16.encode_grid(mean_NK).tobytes()


def make_plan(students: str, **changes) -> Plan:
    defaults = {"job": "test", "uid": "uid", "method": "MD", "students": tuple(students), "cycles": 2}
    return Plan(**defaults | {"codec": "Float16", "weights": "Accuracy", "temperature": 3.0} | changes)


async def run_to_the_end(root: Path, plan: Plan, pupils: list[Pupil], summary) -> None:
    """Start an aggregator over what is there, as the process does, and let everybody go on until all is complete."""
    state = root / "state"
    for folder in (state, root / "results"):
        folder.mkdir(exist_ok=True)
    sync_directory(root)
    journal = Journal(state / "journal")
    ledger = Ledger(recover(plan, journal, 1.0), journal, AtOnce())
    directory = StateDirectory(state, plan.codec)
    metrics = AggregatorMetrics(CollectorRegistry())
    coordinator = Coordinator(ledger, directory, AtOnce(), metrics, SteadyClock())
    worker = Worker(coordinator, directory, ResultsVolume(root / "results", plan.students), metrics)
    working = asyncio.ensure_future(worker.run())
    try:
        living = asyncio.gather(*(pupil.live(coordinator, summary) for pupil in pupils))
        await asyncio.wait({living, working}, return_when=FIRST, timeout=30)
        assert living.done() or working.done(), ledger.state
        if working.done():
            living.cancel()
            working.result()
        await living
        while not ledger.state.is_complete:
            assert not working.done()
            await asyncio.wait({asyncio.ensure_future(ledger.changed.wait()), working}, return_when=FIRST)
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        await ledger.settle()
        directory.close()
        journal.close()


@dataclass
class CrashPoint:
    """What is on the disk, and what each student has been told."""

    what: str
    image: Image
    pupils: list[Pupil]
    safe: Image | None = None
    """What a power cut would leave of it."""


@contextmanager
def naming(point: CrashPoint) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        error.add_note(point.what)
        raise


def crash_points(
    shelf: Shelf, plan: Plan, pupils: list[Pupil], summary, log: list | None = None, every_bytes: int = 1
) -> list[CrashPoint]:
    """Run to the end, and give all that a crash could have left on the way."""
    points: list[CrashPoint] = []
    log = [] if log is None else log
    for pupil in pupils:
        pupil.log = log

    def note(disk: Disk, kind: str, name: str) -> None:
        is_event = (kind, name) == ("sync", "state/journal")
        log.append((kind, name, newest_kind(shelf.root / name)) if is_event else (kind, name))
        known = [copy.deepcopy(replace_log(pupil)) for pupil in pupils]
        step = f"step {len(log)}, {kind} {name}"
        now, safe = tree(shelf.root), disk.survivors()
        points.append(CrashPoint(f"{step}, killed", now, known, safe))
        points.append(CrashPoint(f"{step}, power cut", safe, known))
        if kind == "before sync" and name.startswith("state/"):
            content, synced = now[name] or b"", disk.synced_of(name)
            shortest = len(synced) if content.startswith(synced) else 0
            for length in range(shortest, len(content), every_bytes):
                cuts = {"": {**now, name: content[:length]}}
                if length % 8 == 0:
                    cuts[", filled with zeros"] = {**now, name: content[:length] + bytes(len(content) - length)}
                    if name in safe:
                        cuts[", power cut"] = {**safe, name: content[:length]}
                points.extend(CrashPoint(f"{step}, cut at byte {length}{how}", cuts[how], known) for how in cuts)

    disk = Disk(shelf.root, note)
    with disk.watched():
        asyncio.run(run_to_the_end(shelf.root, plan, pupils, summary))
    return points


def newest_kind(journal: Path) -> str:
    """The kind of the last event: the last field of its record."""
    return journal.read_bytes().rpartition(b'"kind":"')[2].rpartition(b'"}')[0].decode()


def replace_log(pupil: Pupil) -> Pupil:
    return Pupil(**{**vars(pupil), "log": []})


def recovered(root: Path, plan: Plan) -> Image:
    """What an aggregator has made of the disk when it is ready."""
    (root / "state").mkdir(exist_ok=True)
    journal = Journal(root / "state" / "journal")
    state = recover(plan, journal, 1.0)
    directory = StateDirectory(root / "state", plan.codec)
    directory.load(state)
    directory.close()
    journal.close()
    return tree(root)


def check_end(root: Path, plan: Plan, pupils: list[Pupil]) -> None:
    """All is there, right, and once."""
    journal = Journal(root / "state" / "journal")
    events = list(journal.replay())
    journal.close()
    kinds = Counter(event.kind for event in events)
    records = [event.record for event in events if event.kind == "Closed"]
    expected = [RoundKey(1), RoundKey(2), RoundKey(2, Split.EVALUATION)]
    assert [record.round for record in records] == expected
    assert [event.round for event in events if event.kind == "TeacherStored"] == expected
    assert kinds["Started"] == kinds["Completed"] == 1
    assert kinds["Finished"] == len(plan.students)
    for pupil in pupils:
        assert [pupil.records[key] for key in expected] == records
        assert [pupil.lessons[key] for key in expected] == [reference(record) for record in records]
    left = tree(root)
    teachers = [f"state/teachers/{name}.frames" for name in ("00001-train", "00002-train", "00002-evaluation")]
    files = ["results/ensemble.json", "results/result.json", "state/journal", "state/journal.durable", *teachers]
    assert sorted(left) == sorted([*files, "results", "state", "state/spool", "state/teachers"])
    result = json.loads(left["results/result.json"])
    assert [student["name"] for student in result["students"]] == list(plan.students)


@pytest.fixture
def quick(monkeypatch):
    """Each frame is synced and acknowledged by itself, and syncs take no time."""
    monkeypatch.setattr(uploads, "COMMIT_SECONDS", 0.0)
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(os, "fdatasync", lambda _: None)
    with structlog.testing.capture_logs():
        yield


SCENARIOS = {  # the plan, frames of other sizes, and at which bytes files are cut
    "everybody": (make_plan("ab"), {}, 1),
    "quorum": (make_plan("abc", minimum_students=2, cycle_deadline_seconds=0.0), {"c": 1}, 7),
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_nothing_told_is_lost_wherever_a_crash_comes(tmp_path, quick, summary, scenario):
    plan, rows_at_once, every_bytes = SCENARIOS[scenario]
    pupils = [Pupil(name, rows_at_once.get(name, 3)) for name in plan.students]
    shelf = Shelf(tmp_path / "disk")
    points = crash_points(shelf, plan, pupils, summary, every_bytes=every_bytes)
    check_end(shelf.root, plan, pupils)
    disks: dict[str, list[CrashPoint]] = {}
    for point in {repr(point.image): point for point in points}.values():
        with naming(point):
            image = recovered(shelf.put(point.image), plan)
            disks.setdefault(repr(image), []).append(CrashPoint(point.what, image, point.pupils))
    for same in disks.values():
        told_least, told_most = (same[0], False), (same[-1], False)
        for point, restarted in (told_least, told_most, (same[-1], True)):
            pupils = [pupil.next_attempt() if restarted else pupil for pupil in copy.deepcopy(point.pupils)]
            with naming(point):
                asyncio.run(run_to_the_end(shelf.put(point.image), plan, pupils, summary))
                check_end(shelf.root, plan, pupils)
    print(f"{scenario}: {len(points)} places to crash leave {len(disks)} different disks; three runs from each")
    assert len(disks) > 40


def test_a_crash_while_it_recovers_takes_nothing(tmp_path, quick, summary):
    """Killed or cut off from power at each step of a recovery, it recovers to what one recovery alone would give."""
    plan, _, _ = SCENARIOS["everybody"]
    shelf, again = Shelf(tmp_path / "disk"), Shelf(tmp_path / "again")
    points = crash_points(shelf, plan, [Pupil(name) for name in plan.students], summary, every_bytes=10**6)
    killed = {repr((point.image, point.safe)): point for point in points if point.safe is not None}
    seen: set[str] = set()
    for point in killed.values():
        second: dict[str, CrashPoint] = {}

        def note(disk: Disk, kind: str, name: str, point=point, second=second) -> None:
            for how, image in (("killed", tree(disk.root)), ("power cut", disk.survivors())):
                what = f"{point.what}, and while it recovered, at {kind} {name}, {how}"
                second.setdefault(repr(image), CrashPoint(what, image, point.pupils))

        disk = Disk(shelf.put(point.image), note, point.safe)
        with naming(point), disk.watched():
            with_tail = recovered(shelf.root, plan)
        without_tail = recovered(again.put(point.safe or {}), plan)
        for key in second.keys() - seen:
            with naming(crash := second[key]):
                assert recovered(again.put(crash.image), plan) in (with_tail, without_tail)
        seen |= second.keys()
    print(f"{len(killed)} different disks, {len(seen)} more while they recover")
    assert len(seen) > 100


class OneFails:
    """One write or sync of many fails."""

    def __init__(self, number: int, code: int) -> None:
        self.calls_left = number
        self._code = code

    def wrapped(self, real):
        def call(*args):
            self.calls_left -= 1
            if self.calls_left == 0:
                raise OSError(self._code, os.strerror(self._code))
            return real(*args)

        return call


def keep_journal(path: Path, told: list) -> None:
    """Tell of what became durable, whatever fails."""
    with suppress(OSError, Retryable):
        journal = Journal(path)
        for event in (Started("uid", 1.0), Counted(1, 2), Counted(3, 4)):
            with suppress(OSError, Retryable):
                journal.append(event)
                told.append(event)
        journal.close()


def journal_images(root: Path, fails: OneFails) -> list[tuple[Image, list]]:
    """All that a kill, a power cut or a torn promise could leave of a journal, and what was told then."""
    told: list = []
    left: list[tuple[Image, list]] = []
    promises = [b""]

    def note(disk: Disk, kind: str, name: str) -> None:
        now = tree(disk.root)
        left.extend([(now, list(told)), (disk.survivors(), list(told))])
        if (kind, name) == ("pwrite", "journal.durable"):
            old, new = promises[-1], now[name] or b""
            left.extend(({**now, name: new[:at] + old[at:]}, list(told)) for at in range(len(new)))
            promises.append(new)

    with Disk(root, note).watched(), pytest.MonkeyPatch.context() as patch:
        for name in ("fsync", "fdatasync", "pwrite", "pwritev"):
            patch.setattr(os, name, fails.wrapped(getattr(os, name)))
        keep_journal(root / "journal", told)
    return left


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_no_failing_disk_makes_a_sound_journal_look_damaged(tmp_path, quick, code):
    """Each write and sync fails in its turn, and then a crash comes at any step. A false alarm would end the job."""
    shelf = Shelf(tmp_path / "left")
    for number in count(1):
        root = tmp_path / f"{number}"
        root.mkdir()
        for image, told in journal_images(root, fails := OneFails(number, code)):
            journal = Journal(shelf.put(image) / "journal")
            replayed = list(journal.replay())
            journal.close()
            assert [event for event in replayed if event in told] == told
        if fails.calls_left > 0:
            break
    assert number > 12


def test_everything_is_durable_before_anything_follows_from_it(tmp_path, quick, summary):
    """Rows, close record, partial uploads, teacher, its name, its record, and only then served and spool removed."""
    plan, rows_at_once, _ = SCENARIOS["quorum"]
    pupils = [Pupil(name, rows_at_once.get(name, 3)) for name in plan.students]
    log: list[tuple[str, ...]] = []
    crash_points(Shelf(tmp_path / "disk"), plan, pupils, summary, log)
    for number, name, key in (
        (1, "00001-train", RoundKey(1)),
        (2, "00002-train", RoundKey(2)),
        (3, "00002-evaluation", RoundKey(2, Split.EVALUATION)),
    ):
        spool, teacher = f"state/spool/{name}/", f"state/teachers/.{name}.frames.tmp"
        rows = [at for at, (kind, what, *_) in enumerate(log) if what.startswith(spool) and kind in ("pwritev", "sync")]
        partial = [at for at, step in enumerate(log) if step[0] == "unlink" and step[1].startswith(f"{spool}c-")]
        contributed = (f"{spool}a-", f"{spool}b-")
        whole = [at for at, step in enumerate(log) if step[0] == "unlink" and step[1].startswith(contributed)]
        served = [at for at, step in enumerate(log) if step == ("ack", "served", str(key))]
        chain = [
            max(at for at in rows if log[at][1].startswith(contributed)),
            nth(log, ("sync", "state/journal", "Closed"), number),
            *partial,
            log.index(("before sync", teacher)),
            log.index(("sync", teacher)),
            log.index(("replace", teacher)),
            nth(log, ("sync", "state/teachers"), number),
            nth(log, ("sync", "state/journal", "TeacherStored"), number),
            min(served + whole),
        ]
        assert chain == sorted(chain)
        assert len(partial) == 1
        assert len(whole) == 2
        assert len(served) == 3


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_no_acknowledgement_comes_before_its_sync(tmp_path, quick, summary, scenario):
    plan, rows_at_once, _ = SCENARIOS[scenario]
    log: list[tuple[str, ...]] = []
    pupils = [Pupil(name, rows_at_once.get(name, 3)) for name in plan.students]
    crash_points(Shelf(tmp_path / "disk"), plan, pupils, summary, log)
    unsynced: set[str] = set()
    promises: Counter = Counter()
    num_acks = 0
    for kind, name, *more in log:
        if kind in ("pwritev", "pwrite", "ftruncate"):
            unsynced.add(name)
        elif kind == "sync":
            unsynced.discard(name)
            promises.update(more)
        elif kind == "ack":
            num_acks += 1
            if name == "rows":
                assert not any(f"/{more[0]}-" in file for file in unsynced)
            elif name != "served":
                promises[name] -= 1
                assert promises[name] >= 0, f"{name} of {more[0]} was told before it was durable"
    assert num_acks > 20


def nth(log: list, step: tuple, number: int) -> int:
    """Where a step comes for the nth time."""
    return [at for at, one in enumerate(log) if one == step][number - 1]


@pytest.mark.parametrize(("count_seconds", "is_counted_between"), [(0.0, True), (3600.0, False)])
def test_traffic_and_waiting_are_put_on_record_now_and_then(
    tmp_path, quick, summary, monkeypatch, count_seconds, is_counted_between
):
    """Else a kill would take all since the last close."""
    monkeypatch.setattr(worker_module, "COUNT_SECONDS", count_seconds)
    plan, *_ = SCENARIOS["everybody"]
    asyncio.run(run_to_the_end(tmp_path, plan, [Pupil(name) for name in plan.students], summary))
    journal = Journal(tmp_path / "state" / "journal")
    events = list(journal.replay())
    journal.close()
    counts = [event for event in events if event.kind == "Counted"]
    num_closes = sum(event.kind == "Closed" for event in events)
    assert (len(counts) > num_closes + 1) is is_counted_between, "one at each close, and one before the results"
    rounds = [RoundKey(1), RoundKey(2), RoundKey(2, Split.EVALUATION)]
    num_bytes = sum(codes_of(name, key).nbytes for name in plan.students for key in rounds)
    assert sum(event.up_bytes for event in counts) == num_bytes, "each byte once"
