"""Kills, fences, garbage, damage and full disks: nothing of it shows in a teacher."""

import math
import os
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import grpc
import numpy as np
import pytest

from distilljob_core.errors import (
    BadFrame,
    Busy,
    Conflict,
    Fenced,
    FingerprintMismatch,
    Mismatch,
    NotOpen,
    ProtocolMismatch,
    Retryable,
    RowsOutOfRange,
    StateLost,
    UnknownStudent,
)
from distilljob_core.exchange import Directive, NeedRows, Report, RoundKey, SplitShape
from distilljob_core.phases import StudentPhase
from distilljob_core.rpc import aggregator_pb2 as pb
from distilljob_core.rpc import messages
from distilljob_core.rpc.methods import METHODS, TOKEN_METADATA
from distilljob_core.rpc.status import error_from
from distilljob_core.softlabels.codecs import codec
from distilljob_core.softlabels.frames import Split, pack, rows_per_frame

TRAIN = RoundKey(1)
SEED = 20240229


def joined(make_student, aggregator, *names, **options):
    students = {name: make_student(aggregator, name, **options) for name in names}
    for student in students.values():
        student.join()
    return students


def test_a_killed_aggregator_goes_on_in_mid_upload_and_gives_the_same_teacher(
    start_aggregator, spec, make_student, reference
):
    aggregator = start_aggregator(spec("a", "b"))
    students = joined(make_student, aggregator, "a", "b")
    students["b"].upload(TRAIN)
    student = students["a"]
    begun_at = []

    def source(first_row):
        begun_at.append(first_row)
        for number, block in enumerate(student.blocks(TRAIN)(first_row)):
            if len(begun_at) == 1 and number == 3:
                aggregator.until(lambda: aggregator.table().students[0].rows_durable == 3000)
                aggregator.kill()
                aggregator.start()
            yield block

    assert student.client.upload(student.offer(TRAIN), source) is None
    assert begun_at == [0, 3000], "only what was not durable is made again"
    record = student.wait(TRAIN)
    expected = reference(record, students).tobytes()
    assert [one.teacher(TRAIN).tobytes() for one in students.values()] == [expected, expected]


def test_a_kill_between_close_record_and_teacher_decides_nothing_again(start_aggregator, spec, make_student, reference):
    aggregator = start_aggregator(spec("a", "b", cycles=3))
    students = joined(make_student, aggregator, "a", "b")
    (aggregator.state / "teachers").mkdir(exist_ok=True)
    in_the_way = aggregator.state / "teachers" / ".00001-train.frames.tmp"
    os.mkfifo(in_the_way)  # writing the teacher blocks until somebody reads
    for student in students.values():
        student.upload(TRAIN)
    aggregator.until(lambda: bool(aggregator.table().closes))
    aggregator.kill()
    assert not (aggregator.state / "teachers" / "00001-train.frames").exists()
    in_the_way.unlink()
    aggregator.wish(stopAfterCycle=1, dropped=[])
    aggregator.start()
    record = students["a"].wait(TRAIN)
    assert not record.last, "the wish came after the decision"
    assert students["b"].teacher(TRAIN).tobytes() == reference(record, students).tobytes()
    assert not list((aggregator.state / "spool").iterdir())


def test_damaged_rows_are_sent_again_and_leave_no_trace(start_aggregator, spec, make_student, reference):
    aggregator = start_aggregator(spec("a", "b"))
    students = joined(make_student, aggregator, "a", "b")
    students["a"].upload(TRAIN)
    aggregator.kill()
    (file,) = (aggregator.state / "spool" / "00001-train").iterdir()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    aggregator.start()
    aggregator.until(aggregator.is_ready)
    need = students["a"].client.wait(TRAIN)
    assert 0 <= need.next_row < 5000
    assert students["a"].client.open(students["a"].offer(TRAIN)) == need.next_row
    for student in students.values():
        student.upload(TRAIN)
    record = students["a"].wait(TRAIN)
    assert students["a"].teacher(TRAIN).tobytes() == reference(record, students).tobytes()


def test_a_newer_attempt_fences_the_older_one_in_the_middle_of_its_upload(
    start_aggregator, spec, make_student, reference
):
    aggregator = start_aggregator(spec("a"))
    old = make_student(aggregator, "a")
    old.join()
    new = make_student(aggregator, "a", attempt=2)

    def source(first_row):
        for number, block in enumerate(old.blocks(TRAIN)(first_row)):
            if number == 2:
                new.join()
            yield block

    with pytest.raises(Fenced):
        old.client.upload(old.offer(TRAIN), source)
    for call in (
        lambda: old.client.heartbeat(Report(StudentPhase.UPLOADING)),
        lambda: old.client.wait(TRAIN),
        lambda: old.upload(TRAIN),
        lambda: list(old.client.teacher(TRAIN)),
        lambda: old.client.finish(old.summary()),
        old.join,
    ):
        with pytest.raises(Fenced):
            call()
    assert new.upload(TRAIN) is None
    record = new.wait(TRAIN)
    assert new.teacher(TRAIN).tobytes() == reference(record, {"a": new}).tobytes()
    assert aggregator.rejected("Fenced") >= 7


def test_an_idle_stream_of_an_older_attempt_ends_when_a_newer_one_joins(start_aggregator, spec, make_student):
    aggregator = start_aggregator(spec("a"))
    old = make_student(aggregator, "a")
    token = old.join().token
    old.client.open(old.offer(TRAIN))
    (frame, *_) = frames_of(old, old.labels(TRAIN)[:1000])
    never = threading.Event()

    def frames():
        yield frame
        never.wait(30)

    with ThreadPoolExecutor(1) as pool:
        idle = pool.submit(raw_upload(aggregator, token), frames())
        aggregator.until(lambda: aggregator.table().students[0].rows_durable == 1000)
        make_student(aggregator, "a", attempt=2).join()
        with pytest.raises(Fenced):
            idle.result(15)
        never.set()


def test_a_stream_of_the_same_attempt_that_begins_anew_replaces_the_old_one(
    start_aggregator, spec, make_student, reference
):
    aggregator = start_aggregator(spec("a"))
    student = joined(make_student, aggregator, "a")["a"]
    twin = make_student(aggregator, "a")
    twin.join()
    release = threading.Event()

    def source(first_row):
        for number, block in enumerate(student.blocks(TRAIN)(first_row)):
            if number == 2:
                release.wait(30)
            yield block

    with ThreadPoolExecutor(1) as pool:
        stalled = pool.submit(student.client.upload, student.offer(TRAIN), source)
        aggregator.until(lambda: aggregator.table().students[0].rows_durable == 2000)
        assert twin.upload(TRAIN) is None
        release.set()
        stalled.result(30)
    record = student.wait(TRAIN)
    assert twin.teacher(TRAIN).tobytes() == reference(record, {"a": student}).tobytes()


def test_a_block_that_comes_again_counts_once_and_a_different_one_is_a_conflict(
    start_aggregator, spec, make_student, reference
):
    aggregator = start_aggregator(spec("a"))
    student = joined(make_student, aggregator, "a")["a"]
    raw = raw_upload(aggregator, student.join().token)
    assert student.client.open(student.offer(TRAIN)) == 0
    same = frames_of(student, student.labels(TRAIN)[:1000])
    other = frames_of(student, np.roll(student.labels(TRAIN)[:1000], 1, axis=1))
    assert raw(same + same)[-1] == 1000
    with pytest.raises(Conflict):
        raw(other)
    assert student.upload(TRAIN) is None
    record = student.wait(TRAIN)
    assert student.teacher(TRAIN).tobytes() == reference(record, {"a": student}).tobytes()


def test_a_digest_that_lied_is_replaced_by_a_fresh_one(start_aggregator, spec, make_student, reference, monkeypatch):
    aggregator = start_aggregator(spec("a"))
    student = joined(make_student, aggregator, "a")["a"]
    student.client.open(student.offer(TRAIN))
    other = frames_of(student, np.roll(student.labels(TRAIN)[:1000], 1, axis=1))
    raw_upload(aggregator, student.join().token)(other)
    honest = messages.open_from_message
    answers = iter([lambda _: 0])
    monkeypatch.setattr(messages, "open_from_message", lambda reply: next(answers, honest)(reply))
    assert student.upload(TRAIN) is None
    assert aggregator.rejected("Conflict") == 1
    record = student.wait(TRAIN)
    assert record.contributions[0].source_digest.startswith("a-1-1-")
    assert student.teacher(TRAIN).tobytes() == reference(record, {"a": student}).tobytes()


@pytest.mark.parametrize(
    ("who", "splits", "options", "error"),
    [
        pytest.param({"student": "z"}, {}, {}, UnknownStudent, id="unknown-student"),
        pytest.param({"job_uid": "other"}, {}, {}, Mismatch, id="other-job"),
        pytest.param({}, {Split.TRAIN: "other"}, {}, FingerprintMismatch, id="other-data"),
        pytest.param({}, {}, {"closed_seen": 1}, StateLost, id="newer-than-the-journal"),
    ],
)
def test_who_does_not_belong_is_told_why(start_aggregator, spec, make_student, shapes, who, splits, options, error):
    aggregator = start_aggregator(spec("a", "b"))
    joined(make_student, aggregator, "b")
    stranger = make_student(
        aggregator,
        "a",
        shapes={**shapes, **{split: replace(shapes[split], fingerprint=f) for split, f in splits.items()}},
    )
    stranger.who = replace(stranger.who, **who)
    with pytest.raises(error):
        stranger.join(**options)
    assert aggregator.rejected(error.__name__) == 1
    assert aggregator.table().students[0].attempt == 0


def test_another_protocol_version_is_refused(start_aggregator, spec):
    aggregator = start_aggregator(spec("a"))
    with pytest.raises(ProtocolMismatch):
        raw_call(aggregator, "Join", pb.JoinRequest(protocol_version=99, student="a").SerializeToString())


def test_garbage_is_answered_counted_and_has_no_effect(start_aggregator, spec, make_student, reference):
    aggregator = start_aggregator(spec("a"))
    student = joined(make_student, aggregator, "a")["a"]
    rng = np.random.default_rng(SEED)
    host, port = address_of(aggregator)
    for size in (1, 100, 100_000):
        with socket.create_connection((host, port), timeout=10) as connection:
            try:
                connection.sendall(rng.bytes(size))
                while connection.recv(4096):
                    pass
            except OSError:
                pass  # the server may hang up at any byte
    num_calls = 0
    for method in METHODS.values():
        for size in (3, 1000):
            with pytest.raises((BadFrame, Fenced)):
                raw_call(aggregator, method.name, b"\xff" + rng.bytes(size), token="nobody")
            num_calls += 1
    assert aggregator.rejected("ChecksumMismatch") == num_calls
    with pytest.raises(grpc.RpcError) as caught:
        raw_call(aggregator, "Destroy", b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert aggregator.rejected("UnknownMethod") == 1
    assert student.upload(TRAIN) is None
    assert (
        student.teacher(student.wait(TRAIN).round).tobytes() == reference(student.wait(TRAIN), {"a": student}).tobytes()
    )


def damaged(frame):
    return frame[:-1] + bytes([frame[-1] ^ 1])


@pytest.mark.parametrize(
    ("spoil", "error", "reason"),
    [
        pytest.param(damaged, BadFrame, "ChecksumMismatch", id="a-flipped-bit"),
        pytest.param(lambda frame: frame[:-7], BadFrame, "BadFrame", id="cut-short"),
        pytest.param(lambda frame: frame + bytes(5 * 2**20), BadFrame, "BadFrame", id="oversized"),
        pytest.param(lambda frame: repacked(frame, cycle=2), NotOpen, "NotOpen", id="another-cycle"),
        pytest.param(lambda frame: repacked(frame, split=Split.EVALUATION), NotOpen, "NotOpen", id="another-split"),
        pytest.param(lambda frame: repacked(frame, first_row=7), RowsOutOfRange, "RowsOutOfRange", id="a-gap"),
        pytest.param(lambda frame: repacked(frame, scale=2), RowsOutOfRange, "RowsOutOfRange", id="row-sums"),
    ],
)
def test_a_bad_frame_is_refused_and_leaves_no_trace(
    start_aggregator, spec, make_student, reference, spoil, error, reason
):
    aggregator = start_aggregator(spec("a"))
    student = joined(make_student, aggregator, "a")["a"]
    student.client.open(student.offer(TRAIN))
    (first, *_) = frames_of(student, student.labels(TRAIN))
    with pytest.raises(error):
        raw_upload(aggregator, student.join().token)([spoil(first)])
    assert aggregator.rejected(reason) == 1
    assert student.client.open(student.offer(TRAIN)) == 0
    student.upload(TRAIN)
    record = student.wait(TRAIN)
    assert student.teacher(TRAIN).tobytes() == reference(record, {"a": student}).tobytes()


def test_the_ninth_stream_is_told_to_come_back(start_aggregator, spec, make_student):
    names = [f"s{index}" for index in range(9)]
    aggregator = start_aggregator(spec(*names))
    students = joined(make_student, aggregator, *names)
    release = threading.Event()

    def hold(student):
        def source(first_row):
            for number, block in enumerate(student.blocks(TRAIN)(first_row)):
                if number == 1:
                    release.wait(60)
                yield block

        return student.client.upload(student.offer(TRAIN), source)

    with ThreadPoolExecutor(9) as pool:
        holding = [pool.submit(hold, students[name]) for name in names[:8]]
        aggregator.until(lambda: sum(view.rows_durable > 0 for view in aggregator.table().students) == 8)
        last = students[names[8]]
        last.client.open(last.offer(TRAIN))
        with pytest.raises(Busy):
            raw_upload(aggregator, last.join().token)([])
        assert last.client.heartbeat(Report(StudentPhase.UPLOADING)) is not None
        ninth = pool.submit(last.upload, TRAIN)
        release.set()
        assert [future.result(60) for future in (*holding, ninth)] == [None] * 9
    assert last.wait(TRAIN).missing == ()


def test_a_slow_reader_holds_up_nobody_and_misses_nothing(start_aggregator, spec, make_student, reference):
    aggregator = start_aggregator(spec("a", "b"))
    shapes = {Split.TRAIN: SplitShape(60_000, 100, "t"), Split.EVALUATION: SplitShape(10, 100, "e")}
    students = joined(make_student, aggregator, "a", "b", shapes=shapes)
    for student in students.values():
        student.upload(TRAIN)
    record = students["a"].wait(TRAIN)
    slow = students["a"].client.teacher(TRAIN)
    parts = [next(slow)[1]]
    expected = reference(record, students)
    assert students["b"].teacher(TRAIN).tobytes() == expected.tobytes()
    parts += [rows for _, rows in slow]
    assert np.concatenate(parts).tobytes() == expected.tobytes()


@pytest.mark.parametrize("first_row", [1, 5242, 5243, 11_999])
def test_a_teacher_can_be_read_from_any_row(start_aggregator, spec, make_student, first_row):
    aggregator = start_aggregator(spec("a"))
    shapes = {Split.TRAIN: SplitShape(12_000, 100, "t"), Split.EVALUATION: SplitShape(10, 100, "e")}
    student = joined(make_student, aggregator, "a", shapes=shapes)["a"]
    student.upload(TRAIN)
    student.wait(TRAIN)
    whole = student.teacher(TRAIN)
    blocks = list(student.client.teacher(TRAIN, first_row))
    assert blocks[0][0] == first_row
    assert np.concatenate([rows for _, rows in blocks]).tobytes() == whole[first_row:].tobytes()


def test_a_full_results_volume_is_waited_for(start_aggregator, spec, make_student, tmp_path):
    aggregator = start_aggregator(spec("a"))
    seen = []
    student = joined(make_student, aggregator, "a", on_progress=lambda: seen.append(aggregator.table().storage_full))[
        "a"
    ]
    weights = tmp_path / "weights"
    weights.write_bytes(b"w" * 3_000_000)
    (aggregator.results / ".a.bin.1.part").symlink_to("/dev/full")
    student.client.publish(weights, "a.bin")
    assert (aggregator.results / "a.bin").read_bytes() == weights.read_bytes()
    assert aggregator.rejected("ResultsFull") == 1
    assert "Results" in seen
    assert aggregator.table().storage_full is None


@pytest.mark.parametrize("name", ["b.bin", "a-0.bin", "a", "a./x", "../a.bin", "result.json", ".a.bin"])
def test_a_student_writes_only_files_of_its_own_name(start_aggregator, spec, make_student, tmp_path, name):
    aggregator = start_aggregator(spec("a", "a-0", "b"))
    student = joined(make_student, aggregator, "a")["a"]
    (tmp_path / "f").write_bytes(b"x")
    with pytest.raises(UnknownStudent):
        student.client.publish(tmp_path / "f", name)
    assert not list(aggregator.results.iterdir())


def test_a_full_state_volume_is_waited_for(start_aggregator, spec, make_student, reference):
    aggregator = start_aggregator(spec("a"))
    seen = []
    student = joined(make_student, aggregator, "a", on_progress=lambda: seen.append(aggregator.table().storage_full))[
        "a"
    ]
    folder = aggregator.state / "spool" / "00001-train"
    folder.mkdir()
    (folder / ".a-1.rows.tmp").symlink_to("/dev/full")
    assert student.upload(TRAIN) is None
    assert aggregator.rejected("StorageFull") == 1
    assert "State" in seen
    aggregator.until(lambda: aggregator.table().storage_full is None)
    record = student.wait(TRAIN)
    assert student.teacher(TRAIN).tobytes() == reference(record, {"a": student}).tobytes()


def test_nobody_finishes_before_the_evaluation_and_records_must_be_the_students_own(
    start_aggregator, spec, make_student
):
    aggregator = start_aggregator(spec("a"))
    student = joined(make_student, aggregator, "a")["a"]
    with pytest.raises(NotOpen):
        student.client.finish(student.summary())
    with pytest.raises(Mismatch, match="names b"):
        student.client.finish(student.summary().model_copy(update={"name": "b"}))
    empty = pb.FinishRequest(token=student.join().token, summary_json="{}").SerializeToString()
    with pytest.raises(Mismatch):
        raw_call(aggregator, "Finish", empty)


def test_a_number_that_is_none_is_refused_counted_and_outlives_no_restart(start_aggregator, spec, make_student):
    aggregator = start_aggregator(spec("a", method={"name": "Independent"}))
    student = joined(make_student, aggregator, "a")["a"]
    last = RoundKey(1, Split.EVALUATION)
    with pytest.raises(BadFrame, match="cross_entropy is nan"):
        student.client.open(replace(student.offer(last), cross_entropy=math.nan))
    with pytest.raises(BadFrame, match="samples_per_second is inf"):
        student.client.heartbeat(Report(StudentPhase.INDEPENDENT, samples_per_second=math.inf))
    assert aggregator.rejected("BadFrame") == 2
    assert aggregator.table().students[0].samples_per_second == 0
    student.upload(last)
    student.wait(last)
    text = student.summary().model_dump_json(by_alias=True).replace('"nll":0.1', '"nll":NaN')
    request = pb.FinishRequest(token=student.join().token, summary_json=text).SerializeToString()
    with pytest.raises(Mismatch, match="nll"):
        raw_call(aggregator, "Finish", request)
    aggregator.kill()
    aggregator.start()
    student.client.finish(student.summary())
    aggregator.until(lambda: aggregator.table().complete)


def test_a_journal_damaged_in_the_middle_is_left_alone_and_named(start_aggregator, spec, make_student):
    aggregator = start_aggregator(spec("a", "b"))
    joined(make_student, aggregator, "a", "b")
    aggregator.kill()
    journal = aggregator.state / "journal"
    damaged = bytearray(journal.read_bytes())
    damaged[damaged.index(b'"Admitted"')] ^= 1
    journal.write_bytes(damaged)
    with pytest.raises(AssertionError):
        aggregator.start()
    assert aggregator.process.wait(30) == 87
    assert f"{journal} is damaged at byte" in aggregator.log.read_text()
    assert journal.read_bytes() == damaged


def test_a_state_directory_has_one_owner_and_one_job(start_aggregator, spec, make_student):
    aggregator = start_aggregator(spec("a"))
    first = aggregator.process
    with pytest.raises(AssertionError):
        aggregator.start()
    assert aggregator.stop() == 1
    assert "in use by process" in aggregator.log.read_text()
    aggregator.process = first
    aggregator.kill()
    job = aggregator.folder / "job.json"
    job.write_text(job.read_text().replace("11111111", "99999999"))
    with pytest.raises(AssertionError):
        aggregator.start()
    assert aggregator.stop() == 82
    assert "belongs to job" in aggregator.log.read_text()


def test_labels_that_end_too_early_are_noticed_by_the_student(start_aggregator, spec, make_student):
    aggregator = start_aggregator(spec("a"))
    student = joined(make_student, aggregator, "a")["a"]
    with pytest.raises(RowsOutOfRange, match="ended at row 1000 of 5000"):
        student.client.upload(student.offer(TRAIN), lambda row: iter([student.labels(TRAIN)[:1000]]))


def test_a_client_that_is_closed_stops_trying(make_student, start_aggregator, spec):
    aggregator = start_aggregator(spec("a"))
    student = make_student(aggregator, "a")
    aggregator.kill()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(student.join)
        student.client.close()
        with pytest.raises((grpc.RpcError, Retryable)):
            waiting.result(30)


def test_a_teacher_that_has_no_room_is_waited_for_and_said_to_be(start_aggregator, spec, make_student, reference):
    aggregator = start_aggregator(spec("a"))
    student = joined(make_student, aggregator, "a")["a"]
    (aggregator.state / "teachers" / ".00001-train.frames.tmp").symlink_to("/dev/full")
    student.upload(TRAIN)
    aggregator.until(lambda: aggregator.table().storage_full == "State")
    record = student.wait(TRAIN)
    assert student.teacher(TRAIN).tobytes() == reference(record, {"a": student}).tobytes()
    aggregator.until(lambda: aggregator.table().storage_full is None)


def test_results_that_have_no_room_keep_a_job_from_being_complete(start_aggregator, spec, make_student):
    aggregator = start_aggregator(spec("a", method={"name": "Independent"}))
    student = joined(make_student, aggregator, "a")["a"]
    last = RoundKey(1, Split.EVALUATION)
    student.upload(last)
    student.wait(last)
    (aggregator.results / ".result.json.tmp").symlink_to("/dev/full")
    student.client.finish(student.summary())
    aggregator.until(lambda: aggregator.table().storage_full == "Results")
    assert not aggregator.table().complete
    aggregator.until(lambda: aggregator.table().complete)
    assert (aggregator.results / "result.json").exists()


def test_rows_that_rot_on_the_disk_are_asked_for_again(start_aggregator, spec, make_student, reference):
    aggregator = start_aggregator(spec("a", "b"))
    students = joined(make_student, aggregator, "a", "b")
    students["a"].upload(TRAIN)
    aggregator.kill()
    aggregator.start()
    aggregator.until(aggregator.is_ready)
    (file,) = (aggregator.state / "spool" / "00001-train").iterdir()
    with file.open("r+b") as opened:
        opened.seek(-1, os.SEEK_END)
        opened.write(b"\xee")
    students["b"].upload(TRAIN)
    aggregator.until(lambda: "upload damaged" in aggregator.log.read_text())
    assert students["a"].client.wait(TRAIN) == NeedRows(4000)
    assert students["a"].upload(TRAIN) is None
    record = students["a"].wait(TRAIN)
    assert students["b"].teacher(TRAIN).tobytes() == reference(record, students).tobytes()


def test_a_frozen_aggregator_is_given_up_and_tried_again(
    start_aggregator, spec, make_student, reference, tmp_path, monkeypatch
):
    aggregator = start_aggregator(spec("a"))
    shapes = {Split.TRAIN: SplitShape(60_000, 100, "t"), Split.EVALUATION: SplitShape(10, 100, "e")}
    student = joined(make_student, aggregator, "a", shapes=shapes, stall_seconds=0.3)["a"]
    weights = tmp_path / "weights"
    weights.write_bytes(b"w" * 30_000_000)
    begun = []
    make_call = student.client._call
    monkeypatch.setattr(student.client, "_call", lambda name: begun.append(name) or make_call(name))

    def while_frozen(name, work):
        """Do something while the aggregator stands still, until this call has been given up and made again."""
        aggregator.process.send_signal(signal.SIGSTOP)
        begun.clear()
        with ThreadPoolExecutor(1) as pool:
            working = pool.submit(work)
            aggregator.until(lambda: begun.count(name) >= 2)
            aggregator.process.send_signal(signal.SIGCONT)
            return working.result(60)

    streaming, frozen = threading.Event(), threading.Event()

    def source(first_row):
        for number, block in enumerate(student.blocks(TRAIN)(first_row)):
            if number == 2:
                streaming.set()
                frozen.wait(30)
            yield block

    with ThreadPoolExecutor(1) as pool:
        uploading = pool.submit(student.client.upload, student.offer(TRAIN), source)
        streaming.wait(30)
        aggregator.process.send_signal(signal.SIGSTOP)
        begun.clear()
        frozen.set()
        aggregator.until(lambda: "Open" in begun)
        aggregator.process.send_signal(signal.SIGCONT)
        assert uploading.result(60) is None
    record = student.wait(TRAIN)
    while_frozen("Publish", lambda: student.client.publish(weights, "a.bin"))
    assert (aggregator.results / "a.bin").read_bytes() == weights.read_bytes()
    teacher = while_frozen("Result", lambda: student.teacher(TRAIN))
    assert teacher.tobytes() == reference(record, {"a": student}).tobytes()


def test_a_heartbeat_to_an_absent_aggregator_says_go_on(start_aggregator, spec, make_student):
    aggregator = start_aggregator(spec("a"))
    student = joined(make_student, aggregator, "a")["a"]
    aggregator.kill()
    assert student.client.heartbeat(Report(StudentPhase.INDEPENDENT)) is Directive.GO_ON
    (aggregator.state / "grpc.address").unlink()
    assert student.client.heartbeat(Report(StudentPhase.INDEPENDENT)) is Directive.GO_ON


def test_a_taken_port_is_named(start_aggregator, spec):
    aggregator = start_aggregator(spec("a"))
    _, port = address_of(aggregator)
    aggregator.stop()
    with socket.create_server(("127.0.0.1", port)), pytest.raises(AssertionError):
        aggregator.start(f"--grpc-port={port}")
    assert f"cannot listen on 127.0.0.1:{port}" in aggregator.log.read_text()
    with socket.create_server(("127.0.0.1", port)), pytest.raises(AssertionError):
        aggregator.start(f"--http-port={port}")
    assert aggregator.log.read_text().count(f"cannot listen on 127.0.0.1:{port}") == 2


def test_an_aggregator_without_a_job_says_what_it_needs(start_aggregator, spec):
    aggregator = start_aggregator(spec("a"))
    aggregator.stop()
    aggregator.env["DISTILLJOB_SPEC_FILE"] = "/nowhere/job.json"
    with pytest.raises(AssertionError):
        aggregator.start()
    assert aggregator.process.wait(30) == 80
    assert "/nowhere/job.json" in aggregator.log.read_text()


def address_of(aggregator):
    host, port = (aggregator.state / "grpc.address").read_text().strip().split(":")
    return host, int(port)


def raw_call(aggregator, name, request, token="1"):
    """Make a call with any bytes, as a client in another language might."""
    method = METHODS.get(name)
    path = method.path if method else f"/distilljob.v1alpha1.Aggregator/{name}"
    host, port = address_of(aggregator)
    with grpc.insecure_channel(f"{host}:{port}") as channel:
        kind = method.kind if method else "unary_unary"
        sent = iter([request]) if kind.startswith("stream") else request
        try:
            reply = getattr(channel, kind)(path)(sent, timeout=20, metadata=((TOKEN_METADATA, token),))
            return list(reply) if kind.endswith("stream") else reply
        except grpc.RpcError as error:
            raise error_from(error.trailing_metadata(), error.details()) or error from error


def raw_upload(aggregator, token):
    """Give a function that sends frames as they are, and gives the acknowledgements."""

    def upload(frames):
        host, port = address_of(aggregator)
        options = [("grpc.max_send_message_length", -1)]
        with grpc.insecure_channel(f"{host}:{port}", options) as channel:
            call = channel.stream_stream(METHODS["Upload"].path)
            try:
                acks = list(call(iter(frames), timeout=20, metadata=((TOKEN_METADATA, str(token)),)))
            except grpc.RpcError as error:
                raise error_from(error.trailing_metadata(), error.details()) or error from error
            return [pb.UploadAck.FromString(ack).durable_rows for ack in acks]

    return upload


FLOAT16 = codec("Float16")


def frames_of(student, labels, key=TRAIN):
    rows = FLOAT16.encode(labels)
    size = rows_per_frame(rows.shape[1])
    return [
        pack(rows[row : row + size], cycle=key.cycle, split=key.split, first_row=row, bytes_per_row=rows.shape[1])
        for row in range(0, len(rows), size)
    ]


def repacked(frame, *, cycle=1, split=Split.TRAIN, first_row=0, scale=1):
    """The same kind of frame with a right checksum, but something else wrong."""
    p_NK = np.full((4, 100), scale * 0.01, np.float32)
    return pack(FLOAT16.encode(p_NK), cycle=cycle, split=split, first_row=first_row, bytes_per_row=200)
