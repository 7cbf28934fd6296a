"""Records outlive crashes: whatever happens to the file, what comes back is a prefix of what was appended."""

import errno
import os
import resource
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from distilljob_aggregator.spool import MAGIC, MAXIMUM_RECORD_BYTES, Spool
from distilljob_core.errors import StateLost, StorageFull

PAYLOADS = [b"one", bytes(20), b"three" * 9, b"\xff"]
APPEND_FOREVER = """
import sys
from pathlib import Path
from distilljob_aggregator.spool import Spool
spool = Spool(Path(sys.argv[1]))
for i in range(1_000_000):
    spool.append(i.to_bytes(4, "big") * 1000)
    if i % 10 == 9:
        spool.sync()
        print(i + 1, flush=True)
"""


@contextmanager
def file_size_limit(limit_bytes: int) -> Iterator[None]:
    """Stands for a full disk: the kernel takes bytes up to the limit and refuses the rest."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def content(path: Path) -> bytes:
    """The bytes of a file that holds PAYLOADS."""
    with Spool(path) as spool:
        for payload in PAYLOADS:
            spool.append(payload)
        spool.sync()
    return path.read_bytes()


def reopened(path: Path) -> list[bytes]:
    with Spool(path) as spool:
        return list(spool.replay())


def assert_prefix_that_can_go_on(path: Path) -> int:
    """Open what is there, go on, open again; gives the number of records that were left."""
    kept = reopened(path)
    assert kept == PAYLOADS[: len(kept)]
    with Spool(path) as spool:
        assert spool.durable_bytes == spool.size_bytes == path.stat().st_size
        spool.append(b"next")
        spool.sync()
    assert reopened(path) == [*kept, b"next"]
    return len(kept)


def test_records_come_back_in_order(path: Path, content: bytes):
    assert reopened(path) == PAYLOADS


def test_unsynced_records_are_seen_but_not_called_durable(path: Path):
    with Spool(path) as spool:
        spool.append(memoryview(b"one"))
        assert list(spool.replay()) == [b"one"]
        assert spool.durable_bytes == len(MAGIC) < spool.size_bytes
        spool.sync()
        assert spool.durable_bytes == spool.size_bytes == path.stat().st_size


def test_a_file_cut_at_any_byte_keeps_every_whole_record(path: Path, content: bytes):
    for length in range(len(content) + 1):
        path.write_bytes(content[:length])
        ends = [content.index(payload, len(MAGIC)) + len(payload) for payload in PAYLOADS]
        assert assert_prefix_that_can_go_on(path) == sum(end <= length for end in ends)


def test_a_file_cut_at_any_byte_and_filled_with_zeros_gives_a_prefix(path: Path, content: bytes):
    for length in range(len(MAGIC), len(content)):
        path.write_bytes(content[:length] + bytes(4096))
        assert_prefix_that_can_go_on(path)


def test_a_file_with_any_damaged_byte_gives_a_prefix(path: Path, content: bytes):
    for position in range(len(MAGIC), len(content)):
        for flip in (0x01, 0x80, 0xFF):
            damaged = bytearray(content)
            damaged[position] ^= flip
            path.write_bytes(damaged)
            assert assert_prefix_that_can_go_on(path) < len(PAYLOADS)


def test_damage_within_what_was_promised_is_named_and_the_file_left_alone(path: Path, content: bytes):
    """Any one byte of lengths, checksums and payloads, a cut, and a block of zeros."""
    starts = [len(MAGIC), *(content.index(payload, len(MAGIC)) - 12 for payload in PAYLOADS[1:])]
    left = [content[:length] for length in range(len(MAGIC), len(content))]
    left += [content[:at] + bytes(len(content) - at) for at in starts]
    for at in range(len(MAGIC), len(content)):
        left += [content[:at] + bytes([content[at] ^ flip]) + content[at + 1 :] for flip in (0x01, 0x80, 0xFF)]
    for damaged in left:
        path.write_bytes(damaged)
        first = next((at for at, (one, other) in enumerate(zip(damaged, content, strict=False)) if one != other), 0)
        start = max(start for start in starts if start <= (first or len(damaged)))
        with pytest.raises(StateLost, match=rf"{path} is damaged at byte {start}, and was durable up to"):
            Spool(path, promised_bytes=len(content))
        assert path.read_bytes() == damaged


def test_a_torn_tail_behind_what_was_promised_is_cut_off(path: Path, content: bytes):
    promised = content.index(PAYLOADS[-1], len(MAGIC)) - 12
    torn = [content[:length] for length in range(promised, len(content))]
    torn += [content[:length] + bytes(100) for length in range(promised, len(content))]
    torn += [content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :] for at in range(promised, len(content))]
    for left in torn:
        path.write_bytes(left)
        with Spool(path, promised_bytes=promised) as spool:
            assert list(spool.replay()) == PAYLOADS[:-1]


def test_a_file_with_another_magic_is_refused_and_left_alone(path: Path, content: bytes):
    for position in range(len(MAGIC)):
        damaged = bytearray(content)
        damaged[position] ^= 0x01
        path.write_bytes(damaged)
        with pytest.raises(StateLost, match=str(path)):
            Spool(path)
        assert path.read_bytes() == damaged


def test_a_record_from_behind_a_cut_never_follows_a_newer_one(path: Path, content: bytes):
    """As a disk may show it that forgot the cut: the new record in place of an old one, then an old one."""
    first_end = content.index(PAYLOADS[0], len(MAGIC)) + len(PAYLOADS[0])
    path.write_bytes(content[:first_end])
    with Spool(path) as spool:
        spool.append(bytes(19) + b"n")  # as long as the second record
    path.write_bytes(path.read_bytes() + content[path.stat().st_size :])
    assert reopened(path) == [PAYLOADS[0], bytes(19) + b"n"]


def test_torn_tail_is_cut_and_synced_before_anything_is_appended(path: Path, content: bytes, monkeypatch):
    path.write_bytes(content + b"torn")
    sizes: list[int] = []
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: sizes.append(os.fstat(descriptor).st_size))
    with Spool(path):
        assert sizes == [len(content)]


def test_a_new_file_is_durable_with_its_name(tmp_path: Path, path: Path, monkeypatch):
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    with Spool(path):
        assert synced[-1] == str(tmp_path)


@pytest.mark.parametrize("room_bytes", range(1, 40))
def test_full_disk_leaves_a_valid_file_and_goes_on_when_there_is_room(path: Path, content: bytes, room_bytes: int):
    with Spool(path) as spool:
        with pytest.raises(StorageFull, match=str(path)), file_size_limit(len(content) + room_bytes):
            spool.append(b"x" * 28)
        assert path.read_bytes() == content
        spool.append(b"y" * 28)
        spool.sync()
    assert reopened(path) == [*PAYLOADS, b"y" * 28]


@pytest.mark.parametrize(("error", "raised"), [(errno.ENOSPC, StorageFull), (errno.EIO, OSError)])
def test_records_of_a_failed_sync_are_gone_and_the_file_goes_on(path: Path, content: bytes, monkeypatch, error, raised):
    def fail(descriptor: int) -> None:
        raise OSError(error, os.strerror(error))

    with Spool(path) as spool:
        spool.append(b"lost")
        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", fail)
            with pytest.raises(raised):
                spool.sync()
        assert path.read_bytes() == content
        assert spool.size_bytes == spool.durable_bytes == len(content)
        spool.append(b"kept")
        spool.sync()
    assert reopened(path) == [*PAYLOADS, b"kept"]


def test_records_written_in_small_pieces_are_whole(path: Path, monkeypatch):
    pwritev = os.pwritev

    def write_three_bytes(descriptor: int, parts, position: int) -> int:
        return pwritev(descriptor, [b"".join(parts)[:3]], position)

    monkeypatch.setattr(os, "pwritev", write_three_bytes)
    with Spool(path) as spool:
        for payload in PAYLOADS:
            spool.append(payload)
    assert reopened(path) == PAYLOADS


def test_replay_ends_with_the_records_that_were_there_when_it_began(path: Path, content: bytes):
    with Spool(path) as spool:
        payloads = spool.replay()
        first = next(payloads)
        spool.append(b"later")
        assert [first, *payloads] == PAYLOADS


def test_replay_of_a_file_damaged_in_use_says_so(path: Path, content: bytes):
    with Spool(path) as spool:
        with path.open("r+b") as file:
            file.seek(len(content) - 1)
            file.write(b"x")
        with pytest.raises(StateLost, match=r"damaged at byte"):
            list(spool.replay())


@pytest.mark.parametrize("payload", [b"", bytes(MAXIMUM_RECORD_BYTES + 1)], ids=["empty", "too-large"])
def test_payloads_that_could_not_be_read_back_are_refused(path: Path, payload: bytes):
    with Spool(path) as spool, pytest.raises(ValueError, match="a record has"):
        spool.append(payload)


def test_a_killed_process_leaves_all_that_it_synced(path: Path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", APPEND_FOREVER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for _ in range(20):
            num_synced = int(process.stdout.readline())
        process.kill()
    assert process.returncode == -signal.SIGKILL
    payloads = reopened(path)
    assert len(payloads) >= num_synced == 200
    assert payloads == [struct.pack(">I", i) * 1000 for i in range(len(payloads))]


class SpoolAgainstList(RuleBasedStateMachine):
    """Any sequence of appends, syncs, crashes and reopenings against a plain list."""

    @initialize()
    def create(self) -> None:
        import tempfile

        self.directory = tempfile.TemporaryDirectory()
        self.path = Path(self.directory.name) / "spool"
        self.spool = Spool(self.path)
        self.appended: list[bytes] = []
        self.num_synced = 0

    @rule(payload=st.binary(min_size=1, max_size=50))
    def append(self, payload: bytes) -> None:
        self.spool.append(payload)
        self.appended.append(payload)

    @rule()
    def sync(self) -> None:
        self.spool.sync()
        self.num_synced = len(self.appended)

    @rule(share=st.floats(0, 1), noise=st.binary(max_size=30))
    def lose_power(self, share: float, noise: bytes) -> None:
        """The disk keeps what was synced, a part of the rest, and rubbish behind it."""
        durable, size = self.spool.durable_bytes, self.spool.size_bytes
        self.spool.close()
        kept = self.path.read_bytes()[: durable + int(share * (size - durable))]
        self.path.write_bytes(kept + noise)
        self.spool = Spool(self.path)
        survived = list(self.spool.replay())
        assert len(survived) >= self.num_synced
        assert survived == self.appended[: len(survived)]
        self.appended, self.num_synced = survived, len(survived)

    @invariant()
    def replay_gives_what_was_appended(self) -> None:
        assert list(self.spool.replay()) == self.appended

    def teardown(self) -> None:
        if hasattr(self, "spool"):
            self.spool.close()
            self.directory.cleanup()


SpoolAgainstList.TestCase.settings = settings(max_examples=50, stateful_step_count=20, deadline=None)
test_spool_behaves_like_a_list_that_outlives_crashes = SpoolAgainstList.TestCase
