"""Students and aggregator over real gRPC: a whole run, its order, its end."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256

import numpy as np
import pytest

from distilljob_core.exchange import Directive, NotYet, Report, RoundKey, SplitShape
from distilljob_core.phases import StudentPhase
from distilljob_core.results import Artifact, RunResult
from distilljob_core.softlabels.frames import Split

TRAIN = RoundKey(1)
LAST = RoundKey(1, Split.EVALUATION)


def run_to_the_end(students, keys=(TRAIN, LAST)):
    """Bring everybody's rows, then let everybody finish; gives the close records."""
    records = []
    for key in keys:
        for student in students:
            assert student.upload(key) is None
        records.append(students[0].wait(key))
        for student in students:
            student.wait(key)
            student.teacher(key)
    for student in students:
        student.client.finish(student.summary())
    return records


def test_three_students_exchange_and_get_the_exact_teacher(start_aggregator, spec, make_student, reference):
    aggregator = start_aggregator(spec("a", "b", "c"))
    students = {name: make_student(aggregator, name) for name in "abc"}
    for student in students.values():
        joined = student.join()
        assert (joined.open, joined.students, joined.cycles) == (TRAIN, ("a", "b", "c"), 1)
        assert (joined.codec, joined.temperature) == ("Float16", 3.0)
    for weight, student in zip((90, 30, 7), students.values(), strict=True):
        assert student.upload(TRAIN, weight) is None
    records = [student.wait(TRAIN) for student in students.values()]
    assert records[0] == records[1] == records[2]
    assert (records[0].weight_sum, records[0].last, records[0].missing) == (127, True, ())
    expected = reference(records[0], students)
    for student in students.values():
        assert student.teacher(TRAIN).tobytes() == expected.tobytes()


def test_64_students_get_the_same_bytes_in_any_order_of_arrival(start_aggregator, spec, make_student, reference):
    names = [f"s{index:02}" for index in range(64)]
    shapes = {Split.TRAIN: SplitShape(700, 100, "t"), Split.EVALUATION: SplitShape(10, 100, "e")}
    stored = []
    for seed in (1, 2):
        aggregator = start_aggregator(spec(*names))
        students = {name: make_student(aggregator, name, shapes=shapes) for name in names}
        order = np.random.default_rng(seed).permutation(names)

        def bring(name, students=students):
            student = students[name]
            student.join()
            return student.client.upload(student.offer(TRAIN, 1 + names.index(name)), student.blocks(TRAIN, 100))

        with ThreadPoolExecutor(16) as pool:
            assert list(pool.map(bring, order)) == [None] * 64
        record = students["s00"].wait(TRAIN)
        assert students["s63"].teacher(TRAIN).tobytes() == reference(record, students).tobytes()
        stored.append((aggregator.state / "teachers" / "00001-train.frames").read_bytes())
    assert stored[0] == stored[1]


def test_a_whole_job_ends_with_results_and_exit_code_0(start_aggregator, spec, make_student, tmp_path):
    aggregator = start_aggregator(spec("a", "b"))
    students = [make_student(aggregator, name) for name in "ab"]
    artifacts = {}
    for student in students:
        student.join()
        weights = tmp_path / "weights"
        weights.write_bytes(student.name.encode() * 3_000_000)
        name = f"{student.name}.safetensors"
        student.client.publish(weights, name)
        assert (aggregator.results / name).read_bytes() == weights.read_bytes()
        digest = sha256(weights.read_bytes()).hexdigest()
        artifacts[student.name] = Artifact(name=name, size_bytes=3_000_000, sha256=digest, kind="last")
    for key in (TRAIN, LAST):
        for student in students:
            student.upload(key)
        for student in students:
            student.wait(key)
            student.teacher(key)
    assert not aggregator.table().complete
    for student in students:
        summary = student.summary().model_copy(update={"artifacts": [artifacts[student.name]]})
        student.client.finish(summary)
        student.client.finish(summary)
    aggregator.until(lambda: aggregator.table().complete)
    result = RunResult.model_validate_json((aggregator.results / "result.json").read_text())
    assert (result.exact, result.cycles, result.best, result.uid) == (True, 1, "a", aggregator.table().uid)
    assert [student.restarts for student in result.students] == [0, 0]
    frame_overhead = 1.001
    payload = 2 * 2 * 100 * (5000 + 700)
    assert payload <= result.exchanged_bytes["up"] <= payload * frame_overhead
    assert payload <= result.exchanged_bytes["down"] <= payload * frame_overhead
    manifest = json.loads((aggregator.results / "ensemble.json").read_text())
    assert manifest["members"] == [
        {"student": name, "model": "small", "weight": 90, "file": item.name, "sha256": item.sha256}
        for name, item in artifacts.items()
    ]
    assert aggregator.metric("distilljob_student_finished", student="a") == 1
    assert aggregator.stop() == 0


def test_independent_students_exchange_only_the_evaluation(start_aggregator, spec, make_student):
    aggregator = start_aggregator(spec("a", "b", method={"name": "Independent"}))
    students = [make_student(aggregator, name) for name in "ab"]
    for student in students:
        assert student.join().open == LAST
    run_to_the_end(students, (LAST,))
    aggregator.until(lambda: aggregator.table().complete)


def test_a_job_interrupted_before_its_end_exits_143_and_goes_on(start_aggregator, spec, make_student):
    aggregator = start_aggregator(spec("a"))
    student = make_student(aggregator, "a")
    token = student.join().token
    student.upload(TRAIN)
    assert aggregator.stop() == 143
    aggregator.start()
    assert student.join().token == token
    assert student.wait(TRAIN).last


def test_the_wish_to_stop_reaches_everybody_in_the_close_record(start_aggregator, spec, make_student):
    aggregator = start_aggregator(spec("a", "b", cycles=9))
    aggregator.kill()
    aggregator.wish(stopAfterCycle=1, dropped=[])
    aggregator.start()
    students = [make_student(aggregator, name) for name in "ab"]
    for student in students:
        student.join()
    assert [record.last for record in run_to_the_end(students)] == [True, True]


def test_a_round_closes_at_its_deadline_with_the_quorum_and_the_late_student_follows(
    start_aggregator, spec, make_student, reference
):
    quorum = {"minimumStudents": 2, "cycleDeadlineSeconds": 1}
    aggregator = start_aggregator(spec("a", "b", "late", quorum=quorum))
    students = {name: make_student(aggregator, name) for name in ("a", "b", "late")}
    for student in students.values():
        student.join()
    late = students["late"]
    begun, closed = threading.Event(), threading.Event()

    def half(first_row):
        for row, block in enumerate(late.blocks(TRAIN)(first_row)):
            if row == 2:
                begun.set()
                closed.wait(30)
            yield block

    with ThreadPoolExecutor(1) as pool:
        upload = pool.submit(late.client.upload, late.offer(TRAIN), half)
        begun.wait(30)
        for name in "ab":
            students[name].upload(TRAIN)
        record = students["a"].wait(TRAIN)
        closed.set()
        assert upload.result(30) == record
    assert record.missing == ("late",)
    assert late.wait(TRAIN) == record
    expected = reference(record, students)
    assert late.teacher(TRAIN).tobytes() == students["a"].teacher(TRAIN).tobytes() == expected.tobytes()
    for student in students.values():
        student.upload(LAST)
    for student in students.values():
        student.wait(LAST)
        student.client.finish(student.summary())
    aggregator.until(lambda: aggregator.table().complete)
    result = RunResult.model_validate_json((aggregator.results / "result.json").read_text())
    assert not result.exact
    assert "late" in result.inexact_reasons[0]


def test_students_take_turns_when_there_are_fewer_places(start_aggregator, spec, make_student, reference):
    aggregator = start_aggregator(spec("a", "b", placement={"maximumConcurrentStudents": 1}))
    first = make_student(aggregator, "a")
    first.join()
    first.upload(TRAIN)

    def is_parked():
        return first.client.heartbeat(Report(StudentPhase.WAITING)) is Directive.PARK

    aggregator.until(is_parked)
    assert isinstance(first.client.wait(TRAIN), NotYet)
    first.client.heartbeat(Report(StudentPhase.PARKED))
    view = aggregator.table().students[0]
    assert (view.phase, view.parked_attempt, view.owes_rows) == (StudentPhase.PARKED, 1, False)
    assert aggregator.metric("distilljob_students", state="Parked") == 1
    second = make_student(aggregator, "b")
    second.join()
    second.upload(TRAIN)
    record = second.wait(TRAIN)
    assert record.missing == ()
    assert aggregator.table().students[0].behind
    again = make_student(aggregator, "a", attempt=2)
    again.join(closed_seen=0)
    assert aggregator.table().students[0].parked_attempt is None
    assert again.wait(TRAIN) == record
    expected = reference(record, {"a": again, "b": second})
    assert again.teacher(TRAIN).tobytes() == second.teacher(TRAIN).tobytes() == expected.tobytes()
    assert not aggregator.table().students[0].behind


def test_a_dropped_student_is_fenced_and_the_others_go_on(start_aggregator, spec, make_student):
    aggregator = start_aggregator(spec("a", "b", "c"))
    students = [make_student(aggregator, name) for name in "abc"]
    for student in students:
        student.join()
    for student in students[:2]:
        student.upload(TRAIN)
    aggregator.wish(stopAfterCycle=None, dropped=["c"])
    record = students[0].wait(TRAIN)
    assert [part.student for part in record.contributions] == ["a", "b"]
    assert aggregator.table().students[2].phase is StudentPhase.DROPPED
    with pytest.raises(Exception, match="student c was dropped from the group"):
        students[2].client.heartbeat(Report(StudentPhase.WAITING))


def test_metrics_and_status_tell_where_everybody_is(start_aggregator, spec, make_student):
    aggregator = start_aggregator(spec("a", "b"))
    assert aggregator.http("/livez") == "live\n"
    aggregator.until(aggregator.is_ready)
    assert aggregator.metric("distilljob_students", state="Starting") == 2
    assert aggregator.metric("distilljob_student_attempt", student="a") is None
    student = make_student(aggregator, "a")
    student.join()
    report = Report(
        StudentPhase.DISTILLING, 1, 2.5, 10, 77, 78, 123.0, 0.5, {"holdout": 0.75, "test": 0.5}, teacher_gain=0.02
    )
    student.client.heartbeat(report)
    expected = {
        "distilljob_student_steps_total": 77,
        "distilljob_student_epoch": 2.5,
        "distilljob_student_cycle": 1,
        "distilljob_student_attempt": 1,
        "distilljob_student_samples_per_second": 123,
        "distilljob_student_finished": 0,
    }
    assert {name: aggregator.metric(name, student="a") for name in expected} == expected
    assert aggregator.metric("distilljob_student_phase", student="a", phase="Distilling") == 1
    assert aggregator.metric("distilljob_student_phase", student="a", phase="Starting") == 0
    assert aggregator.metric("distilljob_student_accuracy_ratio", student="a", split="holdout") == 0.75
    assert aggregator.metric("distilljob_teacher_gain_ratio") == 0.02
    clock = aggregator.metric("distilljob_clock_timestamp_seconds")
    beats = [
        aggregator.metric(f"distilljob_student_last_{kind}_timestamp_seconds", student="a")
        for kind in ("progress", "heartbeat")
    ]
    assert beats[0] == beats[1] <= clock
    student.client.heartbeat(report)
    progress = aggregator.metric("distilljob_student_last_progress_timestamp_seconds", student="a")
    assert progress == beats[0], "a heartbeat without progress is none"
    assert aggregator.metric("distilljob_student_last_heartbeat_timestamp_seconds", student="a") > progress
    assert aggregator.metric("distilljob_student_info", student="a", attempt="1", pod_uid="pod-a-1") == 1
    view = aggregator.table().students[0]
    assert (view.phase, view.step, view.loss, view.owes_rows, view.behind) == (
        StudentPhase.DISTILLING,
        77,
        0.5,
        True,
        False,
    )
    make_student(aggregator, "a", attempt=2).join()
    assert aggregator.metric("distilljob_student_info", student="a", attempt="1", pod_uid="pod-a-1") is None
    assert aggregator.metric("distilljob_student_steps_total", student="a") == 0
    assert aggregator.metric("distilljob_student_accuracy_ratio", student="a", split="holdout") is None


def test_metrics_tell_how_the_exchange_goes(start_aggregator, spec, make_student):
    aggregator = start_aggregator(spec("a", "b", cycles=2))
    students = [make_student(aggregator, name) for name in "ab"]
    for student in students:
        student.join()
        student.client.heartbeat(Report(StudentPhase.UPLOADING))
    rows_bytes = 5000 * 100 * 2
    assert students[0].upload(TRAIN) is None
    assert aggregator.metric("distilljob_cycle") == 1
    assert aggregator.metric("distilljob_cycle_open_seconds") > 0
    assert rows_bytes < aggregator.metric("distilljob_spool_bytes") < 1.01 * rows_bytes
    assert aggregator.metric("distilljob_exchange_bytes_total", direction="up") == rows_bytes
    aggregator.until(lambda: (aggregator.metric("distilljob_student_barrier_seconds_total", student="a") or 0) > 0)
    assert students[1].upload(TRAIN) is None
    students[1].wait(TRAIN)
    students[1].teacher(TRAIN)
    assert rows_bytes <= aggregator.metric("distilljob_exchange_bytes_total", direction="down") < 1.01 * rows_bytes
    assert aggregator.metric("distilljob_student_barrier_seconds_total", student="b") < aggregator.metric(
        "distilljob_student_barrier_seconds_total", student="a"
    )
    assert aggregator.metric("distilljob_upload_seconds_count") == 2
    assert aggregator.metric("distilljob_round_wait_seconds_count") == 1
    aggregator.until(lambda: aggregator.metric("distilljob_cycle") == 2)
    aggregator.until(lambda: aggregator.metric("distilljob_spool_bytes") == 0)


def test_a_published_chunk_is_progress(start_aggregator, spec, make_student, tmp_path):
    aggregator = start_aggregator(spec("a"))
    student = make_student(aggregator, "a")
    student.join()
    student.client.heartbeat(Report(StudentPhase.PUBLISHING))
    name = "distilljob_student_last_progress_timestamp_seconds"
    before = aggregator.metric(name, student="a")
    (tmp_path / "f").write_bytes(b"x")
    student.client.publish(tmp_path / "f", "a.bin")
    assert aggregator.metric(name, student="a") > before


def test_a_student_that_did_not_leave_when_parked_is_waited_for_until_the_deadline(
    start_aggregator, spec, make_student
):
    quorum = {"minimumStudents": 1, "cycleDeadlineSeconds": 1}
    placement = {"maximumConcurrentStudents": 2}
    aggregator = start_aggregator(spec("a", "b", "c", cycles=2, quorum=quorum, placement=placement))
    first, second = (make_student(aggregator, name) for name in "ab")
    first.join()
    second.join()
    first.upload(TRAIN)
    aggregator.until(lambda: first.client.heartbeat(Report(StudentPhase.UPLOADING)) is Directive.PARK)
    aggregator.wish(stopAfterCycle=None, dropped=["c"])
    second.upload(TRAIN)
    second.wait(TRAIN)
    assert first.client.heartbeat(Report(StudentPhase.DISTILLING)) is Directive.GO_ON
    assert aggregator.table().students[0].parked_attempt == 1, "had it left with code 75, that would be proven"
    second.upload(RoundKey(2))
    aggregator.until(lambda: len(aggregator.table().closes) == 2)
    assert second.wait(RoundKey(2)).missing == ("a",)


def test_a_late_students_record_is_in_the_results(start_aggregator, spec, make_student):
    quorum = {"minimumStudents": 1, "cycleDeadlineSeconds": 1}
    aggregator = start_aggregator(spec("a", "late", quorum=quorum))
    first, late = (make_student(aggregator, name) for name in ("a", "late"))
    for student in (first, late):
        student.join()
        student.upload(TRAIN)
    first.wait(TRAIN)
    first.upload(LAST)
    record = first.wait(LAST)
    assert record.missing == ("late",)
    first.client.finish(first.summary())
    assert late.upload(LAST) == record
    late.client.finish(late.summary())
    aggregator.until(lambda: aggregator.table().complete)
    result = RunResult.model_validate_json((aggregator.results / "result.json").read_text())
    assert [student.name for student in result.students] == ["a", "late"]


def test_the_aggregator_leaves_with_its_parent(start_aggregator, spec):
    aggregator = start_aggregator(spec("a"))
    aggregator.stop()
    aggregator.start("--exit-with-parent")
    aggregator.process.stdin.close()
    assert aggregator.process.wait(30) == 143
