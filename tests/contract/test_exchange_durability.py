"""A real aggregator whose disk is full, damaged, emptied or wanted by another: nothing acknowledged is lost."""

import os
import resource
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from distilljob_core.errors import Fenced, StateLost, TeacherGone
from distilljob_core.exchange import Directive, Report, RoundKey, SplitShape
from distilljob_core.phases import StudentPhase
from distilljob_core.softlabels.frames import Split

TRAIN = RoundKey(1)
TINY = {Split.TRAIN: SplitShape(5, 3, "train"), Split.EVALUATION: SplitShape(4, 3, "evaluation")}


def joined(make_student, aggregator, *names, **options):
    students = {name: make_student(aggregator, name, **options) for name in names}
    for student in students.values():
        student.join()
    return students


@contextmanager
def full_disk(aggregator, limit_bytes):
    """No file of the aggregator's may grow beyond this, its log included."""
    pid = aggregator.process.pid
    unlimited = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit_bytes, unlimited[1]))
    try:
        yield
    finally:
        if aggregator.process.poll() is None:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)


def journal_bytes(aggregator):
    return (aggregator.state / "journal").stat().st_size


def assert_alive(student):
    """Heartbeats are answered, and none waits for the disk."""
    begun_seconds = time.monotonic()
    assert student.client.heartbeat(Report(StudentPhase.UPLOADING)) is Directive.GO_ON
    assert time.monotonic() - begun_seconds < 5, "a heartbeat that is not answered takes 10 s"


def leftovers(folder):
    return [path for path in folder.rglob("*") if path.name.endswith((".tmp", ".part"))]


def test_a_journal_without_room_admits_nobody_until_there_is_some(start_aggregator, spec, make_student, reference):
    aggregator = start_aggregator(spec("a", "b"))
    student = joined(make_student, aggregator, "a")["a"]
    late = make_student(aggregator, "b")
    before = (aggregator.state / "journal").read_bytes()
    with ThreadPoolExecutor(1) as pool:
        with full_disk(aggregator, len(before) + 10):
            joining = pool.submit(late.join)
            aggregator.until(lambda: aggregator.rejected("StorageFull") >= 2)
            assert aggregator.table().storage_full == "State"
            assert not aggregator.table().students[1].ever_joined
            assert (aggregator.state / "journal").read_bytes() == before
            assert_alive(student)
        joining.result(30)
    students = {"a": student, "b": late}
    for one in students.values():
        one.upload(TRAIN)
    record = student.wait(TRAIN)
    assert late.teacher(TRAIN).tobytes() == reference(record, students).tobytes()
    assert aggregator.table().storage_full is None


def test_rows_without_room_are_not_acknowledged_and_go_on_when_there_is_some(
    start_aggregator, spec, make_student, reference
):
    aggregator = start_aggregator(spec("a"))
    student = joined(make_student, aggregator, "a")["a"]
    begun_at = []

    def source(first_row):
        begun_at.append(first_row)
        return student.blocks(TRAIN)(first_row)

    with ThreadPoolExecutor(1) as pool:
        with full_disk(aggregator, 500_000):
            uploading = pool.submit(student.client.upload, student.offer(TRAIN), source)
            aggregator.until(lambda: aggregator.rejected("StorageFull") >= 2)
            table = aggregator.table()
            assert table.storage_full == "State"
            assert table.students[0].rows_durable == 2000, "two blocks of 1,000 rows fit"
            assert_alive(student)
            aggregator.kill()
        aggregator.start()
        assert uploading.result(60) is None
    assert set(begun_at) == {0, 2000}, "nothing durable is made again"
    record = student.wait(TRAIN)
    assert student.teacher(TRAIN).tobytes() == reference(record, {"a": student}).tobytes()
    assert not leftovers(aggregator.folder)


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_close_without_room_is_decided_when_there_is_some(start_aggregator, spec, make_student, reference, is_killed):
    aggregator = start_aggregator(spec("a", "b"))
    students = joined(make_student, aggregator, "a", "b", shapes=TINY)
    for student in students.values():
        student.client.open(student.offer(TRAIN))
    with full_disk(aggregator, journal_bytes(aggregator) + 10):
        for student in students.values():
            student.upload(TRAIN)
        aggregator.until(lambda: aggregator.table().storage_full == "State")
        assert not aggregator.table().closes
        assert_alive(students["a"])
        if is_killed:
            aggregator.kill()
    if is_killed:
        aggregator.start()
    record = students["a"].wait(TRAIN)
    assert record.missing == ()
    for student in students.values():
        assert student.teacher(TRAIN).tobytes() == reference(record, students).tobytes()
    aggregator.until(lambda: aggregator.table().storage_full is None)
    assert not leftovers(aggregator.folder)


def test_a_published_file_without_room_leaves_nothing_and_comes_again(start_aggregator, spec, make_student, tmp_path):
    aggregator = start_aggregator(spec("a"))
    student = joined(make_student, aggregator, "a")["a"]
    weights = tmp_path / "weights"
    weights.write_bytes(os.urandom(3_000_000))
    with ThreadPoolExecutor(1) as pool:
        with full_disk(aggregator, 1_500_000):
            publishing = pool.submit(student.client.publish, weights, "a.bin")
            aggregator.until(lambda: aggregator.rejected("ResultsFull") >= 2)
            assert aggregator.table().storage_full == "Results"
            assert not (aggregator.results / "a.bin").exists()
            assert_alive(student)
        publishing.result(60)
    assert (aggregator.results / "a.bin").read_bytes() == weights.read_bytes()
    assert not leftovers(aggregator.results)
    assert aggregator.table().storage_full is None


def test_an_aggregator_whose_log_has_no_room_goes_on(start_aggregator, spec, make_student, reference):
    aggregator = start_aggregator(spec("a"))
    with aggregator.log.open("ab") as log:
        log.write(b"\n" * 2_000_000)
    with full_disk(aggregator, 1_900_000):
        student = joined(make_student, aggregator, "a")["a"]
        student.upload(TRAIN)
        record = student.wait(TRAIN)
        assert student.teacher(TRAIN).tobytes() == reference(record, {"a": student}).tobytes()
    assert not [event for event in aggregator.events() if event["event"] in ("joined", "closed")]


def test_a_second_aggregator_is_refused_and_the_first_goes_on(start_aggregator, spec, make_student, reference):
    aggregator = start_aggregator(spec("a"))
    student = joined(make_student, aggregator, "a")["a"]
    before = {path.name: path.read_bytes() for path in aggregator.state.iterdir() if path.is_file()}
    program = Path(sys.executable).with_name("distilljob-aggregator")
    argv = [program, f"--state={aggregator.state}", "--bind=127.0.0.1", "--grpc-port=0", "--http-port=0"]
    argv += [f"--results={aggregator.results}"]
    second = subprocess.run(argv, env=aggregator.env, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 1
    assert f"{aggregator.state} is in use by process {aggregator.process.pid}; stop it" in second.stderr
    assert {path.name: path.read_bytes() for path in aggregator.state.iterdir() if path.is_file()} == before
    student.upload(TRAIN)
    aggregator.kill()
    aggregator.start()
    record = student.wait(TRAIN)
    assert student.teacher(TRAIN).tobytes() == reference(record, {"a": student}).tobytes()


def test_a_student_behind_replays_what_is_kept_and_is_told_what_is_gone(
    start_aggregator, spec, make_student, reference
):
    quorum = {"minimumStudents": 1, "cycleDeadlineSeconds": 1}
    aggregator = start_aggregator(spec("a", "b", cycles=3, quorum=quorum, aggregator={"teacherHistory": 2}))
    students = joined(make_student, aggregator, "a", "b", shapes=TINY)
    quick, late = students.values()
    records = {}
    for cycle in (1, 2):
        quick.upload(RoundKey(cycle))
        records[cycle] = quick.wait(RoundKey(cycle))
    assert late.upload(TRAIN) == records[1], "both are kept for it"
    for cycle in (1, 2):
        assert late.teacher(RoundKey(cycle)).tobytes() == reference(records[cycle], students).tobytes()
    quick.upload(RoundKey(3))
    records[3] = quick.wait(RoundKey(3))
    aggregator.until(lambda: not (aggregator.state / "teachers" / "00001-train.frames").exists())
    with pytest.raises(TeacherGone, match=r"cycle 1, train is no longer kept; raise spec\.aggregator\.teacherHistory"):
        late.teacher(TRAIN)
    assert TeacherGone.exit_code == 84
    aggregator.kill()
    aggregator.start()
    assert late.teacher(RoundKey(2)).tobytes() == reference(records[2], students).tobytes()
    assert late.upload(RoundKey(3)) == records[3]
    assert late.teacher(RoundKey(3)).tobytes() == reference(records[3], students).tobytes()
    with pytest.raises(TeacherGone):
        late.client.wait(TRAIN)


@pytest.mark.parametrize("damage", ["flipped", "gone"])
def test_a_teacher_that_the_disk_lost_is_lost_state_not_a_loop(start_aggregator, spec, make_student, damage):
    aggregator = start_aggregator(spec("a"))
    student = joined(make_student, aggregator, "a")["a"]
    student.upload(TRAIN)
    student.wait(TRAIN)
    file = aggregator.state / "teachers" / "00001-train.frames"
    if damage == "gone":
        file.unlink()
    else:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    with pytest.raises(StateLost, match=r"the teacher of cycle 1, train is .* the state volume; start the job anew"):
        student.teacher(TRAIN)


def test_an_emptied_state_directory_is_noticed_and_its_tokens_are_worth_nothing(start_aggregator, spec, make_student):
    aggregator = start_aggregator(spec("a", "b", cycles=2))
    students = joined(make_student, aggregator, "a", "b", shapes=TINY)
    for student in students.values():
        student.upload(TRAIN)
    for student in students.values():
        student.wait(TRAIN)
        student.teacher(TRAIN)
    aggregator.kill()
    shutil.rmtree(aggregator.state)
    aggregator.start()
    fresh = make_student(aggregator, "b", attempt=2, shapes=TINY)
    fresh.join()  # says that it has seen nothing, so that there is a token again
    for student in students.values():
        with pytest.raises(Fenced):
            student.client.heartbeat(Report(StudentPhase.DISTILLING))
        with pytest.raises(Fenced):
            student.client.open(student.offer(RoundKey(2)))
    again = make_student(aggregator, "a", attempt=2, shapes=TINY)
    with pytest.raises(StateLost, match=r"has seen cycle 1 closed, but the journal ends at cycle 0: .* start the job"):
        again.join(closed_seen=1)
    assert StateLost.exit_code == 87
    assert not aggregator.table().students[0].ever_joined


def test_a_journal_whose_last_event_was_damaged_is_left_alone_and_named(start_aggregator, spec, make_student):
    aggregator = start_aggregator(spec("a"))
    joined(make_student, aggregator, "a")
    aggregator.kill()
    journal = aggregator.state / "journal"
    damaged = bytearray(journal.read_bytes())
    damaged[-1] ^= 1
    journal.write_bytes(damaged)
    with pytest.raises(AssertionError):
        aggregator.start()
    assert aggregator.process.wait(30) == StateLost.exit_code == 87
    assert f"{journal} is damaged at byte" in aggregator.log.read_text()
    assert journal.read_bytes() == damaged


def test_what_was_exchanged_is_on_record_after_an_orderly_stop(start_aggregator, spec, make_student):
    aggregator = start_aggregator(spec("a", "b"))
    students = joined(make_student, aggregator, "a", "b")
    students["a"].upload(TRAIN)
    aggregator.until(lambda: aggregator.table().students[0].barrier_seconds > 0.2)
    assert aggregator.stop() == 143
    aggregator.start()
    assert aggregator.table().students[0].barrier_seconds > 0.2
