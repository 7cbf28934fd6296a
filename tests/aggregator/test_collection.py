"""Uploads on disk and in the sum: what a disk loses never shows in a teacher."""

import errno
import os
from contextlib import nullcontext

import numpy as np
import pytest

from distilljob_aggregator.live import Live
from distilljob_aggregator.table import round_table
from distilljob_core.errors import Conflict, NotOpen, RowsOutOfRange, StateLost, StorageFull
from distilljob_core.exchange import RoundKey
from distilljob_core.phases import StudentPhase
from distilljob_core.softlabels.codecs import codec
from distilljob_core.softlabels.frames import Split, pack, unpack

TRAIN = RoundKey(1)
BYTES_PER_ROW = 6


def spool_file(job, student):
    (file,) = job.folder.glob(f"spool/00001-train/{student}-*.rows")
    return file


def rot(file):
    with file.open("r+b") as opened:
        opened.seek(-1, os.SEEK_END)
        last = opened.read(1)[0]
        opened.seek(-1, os.SEEK_END)
        opened.write(bytes([last ^ 1]))


@pytest.fixture
def job(exchange):
    return exchange()


def test_rows_that_a_sync_lost_are_taken_again_and_count_once(job, monkeypatch):
    job.open("a")
    job.rows("a", 0, 2)
    job.rows("a", 2, 3, durable=False)

    def fail(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", fail)
        with pytest.raises(StorageFull):
            job.directory.sync("a", 1)
    assert job.open("a") == 2
    job.rows("a", 2, 3)
    job.all_rows("a")
    job.bring("b", "c")
    job.settle()
    assert job.teacher(TRAIN) == job.reference(job.state.closes[0])


def test_a_repeated_frame_counts_once_and_a_different_one_is_a_conflict(job):
    job.open("a")
    job.rows("a", 0, 2)
    job.rows("a", 0, 2)
    with pytest.raises(Conflict, match="row 0"):
        job.rows("a", 0, 1)
    with pytest.raises(Conflict, match="row 1"):
        job.rows("a", 1, 3)
    job.all_rows("a")
    job.bring("b", "c")
    job.settle()
    assert job.teacher(TRAIN) == job.reference(job.state.closes[0])


@pytest.mark.parametrize("first_row", [3, 7, 2**40])
def test_rows_come_without_gaps_and_end_with_the_split(job, first_row):
    job.open("a")
    job.rows("a", 0, 2)
    _, rows = unpack(job.frame("a", 0, 1), BYTES_PER_ROW)
    frame = pack(rows, cycle=1, split=Split.TRAIN, first_row=first_row, bytes_per_row=BYTES_PER_ROW)
    with pytest.raises(RowsOutOfRange, match=r"wanted are 2\.\.6"):
        job.directory.take("a", 1, frame)


def test_rows_beyond_the_end_are_refused(job):
    job.open("a")
    job.rows("a", 0, 6)
    _, rows = unpack(job.frame("a", 0, 2), BYTES_PER_ROW)
    frame = pack(rows, cycle=1, split=Split.TRAIN, first_row=6, bytes_per_row=BYTES_PER_ROW)
    with pytest.raises(RowsOutOfRange, match=r"rows 6\.\.7"):
        job.directory.take("a", 1, frame)


@pytest.mark.parametrize(("sum_of_row", "taken"), [(1.00045, True), (0.99955, True), (1.0007, False), (0.9993, False)])
def test_rows_must_be_near_enough_to_1_that_any_mean_of_them_passes_at_the_receivers(job, sum_of_row, taken):
    job.open("a")
    probs_NK = np.array([[0.5, 0.25, sum_of_row - 0.75]], np.float32)
    rows = codec("Float16").encode(probs_NK)
    frame = pack(rows, cycle=1, split=Split.TRAIN, first_row=0, bytes_per_row=BYTES_PER_ROW)
    with nullcontext() if taken else pytest.raises(RowsOutOfRange, match="row 0 of the block sums to"):
        job.directory.take("a", 1, frame)


def test_a_damaged_upload_can_be_withdrawn_without_a_trace(job):
    job.open("a")
    job.rows("a", 0, 3)
    rot(spool_file(job, "a"))
    job.bring("a", digest="2")
    job.bring("b", "c")
    job.settle()
    assert job.teacher(TRAIN) == job.reference(job.state.closes[0])


def test_a_file_that_is_no_spool_any_more_begins_anew(job):
    job.bring("a")
    spool_file(job, "a").write_bytes(b"something else entirely")
    job.restart()
    assert job.state.uploads["a"].durable_rows == 0
    job.bring("a", "b", "c")
    job.settle()
    assert job.teacher(TRAIN) == job.reference(job.state.closes[0])


def test_rot_after_a_restart_is_found_before_it_reaches_the_teacher(job):
    job.bring("a", "b")
    job.restart()
    rot(spool_file(job, "a"))
    job.bring("c")
    job.settle()
    assert job.state.missing() == ("a",)
    assert job.open("a") == 0
    job.all_rows("a")
    job.settle()
    assert job.teacher(TRAIN) == job.reference(job.state.closes[0])


def test_frames_of_a_withdrawn_upload_are_refused(job):
    job.open("a")
    late = job.frame("a", 0, 2)
    job.open("a", digest="2")
    for call in (lambda: job.directory.take("a", 1, late), lambda: job.directory.sync("a", 1)):
        with pytest.raises(NotOpen):
            call()


def test_nothing_is_taken_while_no_round_is_collected(job):
    with pytest.raises(NotOpen):
        job.directory.sync("a", 1)
    assert job.directory.spool_bytes == 0


def test_files_that_nobody_knows_are_removed(job):
    job.bring("a")
    (job.folder / "spool" / "00001-train" / "z-9.rows").write_bytes(b"x")
    (job.folder / "spool" / "00000-train").mkdir()
    job.restart()
    assert [path.name for path in job.folder.glob("spool/*/*")] == ["a-1.rows"]
    assert [path.name for path in job.folder.glob("spool/*")] == ["00001-train"]
    assert job.directory.spool_bytes == spool_file(job, "a").stat().st_size


def test_a_stored_teacher_that_is_gone_is_lost_state(job):
    job.bring("a", "b", "c")
    job.settle()
    (job.folder / "teachers" / "00001-train.frames").unlink()
    with pytest.raises(StateLost, match="cycle 1"):
        job.restart()


def test_a_teacher_forgotten_just_before_a_kill_is_removed_after_it(exchange):
    job = exchange(teacher_history=1, cycles=3)
    for _ in range(2):
        job.bring("a", "b", "c")
        job.settle()
    forgotten = job.folder / "teachers" / "00001-train.frames"
    assert not forgotten.exists()
    forgotten.write_bytes(b"left behind by a kill")
    job.restart()
    assert not forgotten.exists()


def test_any_damaged_byte_makes_exactly_its_student_send_again(exchange):
    job = exchange(2)
    job.bring("a", "b")
    file = spool_file(job, "a")
    content = file.read_bytes()
    for at in range(len(content)):
        job.directory.close()
        file.write_bytes(content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :])
        job.restart()
        assert job.state.missing() == ("a",)
        assert job.state.has_all_rows("b")
        job.open("a")
        job.all_rows("a")
        assert job.state.missing() == ()
    job.settle()
    assert job.teacher(TRAIN) == job.reference(job.state.closes[0])


def test_a_parked_student_whose_rows_were_damaged_comes_back_and_sends_them_again(exchange):
    job = exchange(2, joined=False, maximum_concurrent=1)
    job.join("a")
    job.open("a")
    job.rows("a", 0, 4)
    job.all_rows("a")
    job.settle()
    assert job.state.students["a"].is_parked
    job.directory.close()
    file = spool_file(job, "a")
    content = bytearray(file.read_bytes())
    content[60] ^= 1
    file.write_bytes(content)
    job.restart()
    live = Live(lambda: 99.0)
    table = round_table(job.state, live, now_seconds=100.0, process_started_seconds=0.0, storage_full=None)
    assert table.students[0].phase is StudentPhase.NEEDS_ROWS
    assert table.students[0].owes_rows
    job.join("a", 2)
    assert job.open("a") == 0
    job.all_rows("a")
    job.join("b")
    job.bring("b")
    job.settle()
    assert job.teacher(TRAIN) == job.reference(job.state.closes[0])


def test_damage_found_on_a_full_disk_never_reaches_the_teacher(exchange, monkeypatch):
    """The file must be begun anew, and there is no room: nothing is summed without it."""
    job = exchange(2)
    job.bring("a", "b")
    job.restart()
    file = spool_file(job, "a")
    rot(file)
    with file.open("r+b") as opened:
        opened.write(b"\0")
    assert job.step()
    assert job.state.closing is not None

    def fail(path, _):
        raise StorageFull(f"{path}: no space left")

    with monkeypatch.context() as patch:
        patch.setattr("distilljob_aggregator.spool.write_atomically", fail)
        with pytest.raises(StorageFull):
            job.step()
    job.settle()
    assert job.state.missing() == ("a",)
    assert job.open("a") == 0
    job.all_rows("a")
    job.settle()
    assert job.teacher(TRAIN) == job.reference(job.state.closes[0])
