"""Reading the aggregator's samples: a value, a stale value, or no data; never somebody else's."""

import math

import pytest

from distilljob_core.phases import StudentPhase
from distilljob_core.progress import (
    CLOCK,
    INFO,
    LAST_HEARTBEAT,
    LAST_PROGRESS,
    PHASE,
    Sight,
    SightReason,
    as_of,
    read_progress,
    read_samples,
    scrape_failed,
)


def samples(student="a", attempt="2", pod_uid="u2", phase="Independent", progress=970.0, heartbeat=995.0):
    phases = [(PHASE, {"student": student, "phase": str(each)}, float(each == phase)) for each in StudentPhase]
    return [
        (INFO, {"student": student, "attempt": attempt, "pod_uid": pod_uid}, 1.0),
        (LAST_PROGRESS, {"student": student}, progress),
        (LAST_HEARTBEAT, {"student": student}, heartbeat),
        ("distilljob_cycle", {}, 1.0),
        *phases,
    ]


def read(found, *, clock=1000.0, age=0.0):
    clocked = found if clock is None else [(CLOCK, {}, clock), *found]
    return as_of(read_progress(clocked), taken_seconds=50.0, now_seconds=50.0 + age, stale_after_seconds=10.0)


def test_a_fresh_scrape_of_this_very_attempt_is_a_value():
    reading = read(samples()).of("a", 2, "u2")
    assert (reading.sight, reading.reason) == (Sight.VALUE, SightReason.FRESH)
    assert reading.phase is StudentPhase.INDEPENDENT
    assert (reading.progress_age_seconds, reading.heartbeat_age_seconds) == (30.0, 5.0)
    assert reading.is_evidence


def test_ages_are_taken_on_the_aggregators_clock_and_never_negative():
    reading = read(samples(progress=5000.0)).of("a", 2, "u2")
    assert reading.progress_age_seconds == 0.0


def test_staleness_belongs_to_the_scrape():
    assert read(samples(), age=10.0).of("a", 2, "u2").sight is Sight.VALUE
    reading = read(samples(), age=10.1).of("a", 2, "u2")
    assert (reading.sight, reading.reason) == (Sight.STALE, SightReason.SCRAPE_STALE)
    assert not reading.is_evidence


@pytest.mark.parametrize(
    ("student", "attempt", "pod_uid", "reason", "is_evidence"),
    [
        pytest.param("b", 1, "u1", "NotJoined", True, id="absent-student"),
        pytest.param("a", 3, "u3", "OlderAttempt", False, id="samples-of-an-older-attempt"),
        pytest.param("a", 2, "other", "OlderAttempt", False, id="samples-of-another-pod"),
        pytest.param("a", 1, "u1", "NewerAttempt", False, id="samples-of-a-newer-attempt"),
    ],
)
def test_samples_of_another_attempt_are_no_data(student, attempt, pod_uid, reason, is_evidence):
    reading = read(samples()).of(student, attempt, pod_uid)
    assert (reading.sight, reading.reason, reading.is_evidence) == (Sight.NO_DATA, reason, is_evidence)
    assert reading.phase is None


@pytest.mark.parametrize("clock", [None, math.nan, math.inf])
def test_without_the_aggregators_clock_there_is_no_data(clock):
    progress = read(samples(), clock=clock)
    assert (progress.sight, progress.reason) == (Sight.NO_DATA, SightReason.CLOCK_MISSING)
    assert not progress.of("a", 2, "u2").is_evidence


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"progress": math.nan}, id="progress-not-a-number"),
        pytest.param({"heartbeat": math.inf}, id="heartbeat-infinite"),
        pytest.param({"phase": "Dreaming"}, id="no-phase-is-one"),
    ],
)
def test_a_sample_that_is_no_number_is_no_data(changes):
    reading = read(samples(**changes)).of("a", 2, "u2")
    assert (reading.sight, reading.reason) == (Sight.NO_DATA, SightReason.NOT_A_NUMBER)
    assert not reading.is_evidence


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param((LAST_PROGRESS, {"student": "a"}, 1.0), id="two-values"),
        pytest.param((PHASE, {"student": "a", "phase": "Waiting"}, 1.0), id="two-phases"),
        pytest.param((PHASE, {"student": "a", "phase": "Waiting"}, math.nan), id="phase-not-a-number"),
    ],
)
def test_samples_that_contradict_each_other_are_no_data(extra):
    assert read([*samples(), extra]).of("a", 2, "u2").reason is SightReason.NOT_A_NUMBER


@pytest.mark.parametrize("missing", [LAST_PROGRESS, LAST_HEARTBEAT, PHASE])
def test_a_missing_sample_is_no_data(missing):
    found = [sample for sample in samples() if sample[0] != missing]
    assert read(found).of("a", 2, "u2").reason is SightReason.NOT_A_NUMBER


def test_a_phase_that_this_version_does_not_know_is_no_data():
    found = [sample for sample in samples() if sample[0] != PHASE]
    found.append((PHASE, {"student": "a", "phase": "Dreaming"}, 1.0))
    assert read(found).of("a", 2, "u2").reason is SightReason.NOT_A_NUMBER


def test_the_newest_of_several_attempts_is_the_one_that_speaks():
    old = (INFO, {"student": "a", "attempt": "1", "pod_uid": "u1"}, 1.0)
    for found in ([old, *samples()], [*samples(), old]):
        assert read(found).of("a", 2, "u2").sight is Sight.VALUE


@pytest.mark.parametrize(
    "info", [({"attempt": "x"}, 1.0), ({}, 1.0), ({"attempt": "2"}, 0.0), ({"attempt": "2"}, math.nan)]
)
def test_an_attempt_without_a_number_is_not_there(info):
    labels, value = info
    found = [(INFO, {"student": "a", "pod_uid": "u2"} | labels, value), *samples()[1:]]
    assert read(found).of("a", 2, "u2").reason is SightReason.NOT_JOINED


def test_a_failed_scrape_is_no_data_and_says_why():
    progress = scrape_failed("connection refused")
    assert progress.message == "connection refused"
    reading = progress.of("a", 1, "u1")
    assert (reading.sight, reading.reason, reading.is_evidence) == (Sight.NO_DATA, SightReason.SCRAPE_FAILED, False)


def test_what_has_no_data_does_not_become_stale():
    assert read(samples(), clock=None, age=11.0).sight is Sight.NO_DATA


TEXT = r"""# HELP distilljob_student_info Newest attempt that joined.
# TYPE distilljob_student_info gauge
distilljob_clock_timestamp_seconds 1.0e+03
distilljob_cycle 2.0
distilljob_student_info{student="a",attempt="2",pod_uid="u}2"} 1.0
distilljob_student_phase{student="a",phase="Waiting"} 1.0
distilljob_student_phase{student="a",phase="Labeling"} 0.0
distilljob_student_phase{student="a",phase="Fetching"} 0
distilljob_student_last_progress_timestamp_seconds{student="a"} NaN
distilljob_student_last_heartbeat_timestamp_seconds{student="b\"\\\n"} 995.5 1700000000000
distilljob_student_last_heartbeat_timestamp_seconds{student="a"} half
distilljob_student_info_more{student="a"} 1
"""


def test_the_text_format_is_read_for_what_progress_is_made_of():
    found = read_samples(TEXT)
    assert found[:3] == [
        (CLOCK, {}, 1000.0),
        (INFO, {"student": "a", "attempt": "2", "pod_uid": "u}2"}, 1.0),
        (PHASE, {"student": "a", "phase": "Waiting"}, 1.0),
    ]
    assert [(name, labels) for name, labels, _ in found[3:]] == [
        (LAST_PROGRESS, {"student": "a"}),
        (LAST_HEARTBEAT, {"student": 'b"\\\n'}),
        (LAST_HEARTBEAT, {"student": "a"}),
    ]
    assert math.isnan(found[3][2])
    assert found[4][2] == 995.5
    assert math.isnan(found[5][2])
