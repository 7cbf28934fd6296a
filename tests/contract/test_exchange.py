"""Students and aggregator over real gRPC, one process each side."""

import numpy as np

from distilljob_core.exchange import Directive, Report, RoundKey
from distilljob_core.phases import StudentPhase
from distilljob_core.softlabels.frames import Split


def test_two_students_close_a_cycle_and_get_the_same_teacher(start_aggregator, spec, make_student):
    aggregator = start_aggregator(spec("a", "b"))
    students = [make_student(aggregator, name) for name in "ab"]
    key = RoundKey(1)
    for student in students:
        joined = student.join()
        assert (joined.open, joined.students, joined.cycles) == (key, ("a", "b"), 1)
        assert student.client.heartbeat(Report(StudentPhase.UPLOADING)) is Directive.GO_ON
    assert [student.upload(key, weight) for student, weight in zip(students, (90, 30), strict=True)] == [None, None]
    records = [student.wait(key) for student in students]
    assert records[0] == records[1]
    assert (records[0].weight_sum, records[0].last) == (120, True)
    first, second = (student.teacher(key) for student in students)
    assert np.array_equal(first, second)
    expected = (students[0].labels(key) * 90 + students[1].labels(key) * 30) / 120
    assert np.abs(first - expected).max() < 1e-3
    last = RoundKey(1, Split.EVALUATION)
    for student in students:
        assert student.upload(last) is None
    for student in students:
        assert student.wait(last).last
        assert student.teacher(last).shape == (700, 100)
        student.client.finish(student.summary())
    aggregator.until(lambda: aggregator.table().complete)
    assert (aggregator.results / "result.json").exists()
    assert aggregator.stop() == 0
