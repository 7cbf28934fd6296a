"""Who may do what: joining, fencing, announcing, waiting, fetching."""

from dataclasses import replace

import pytest

from distilljob_aggregator.rounds import admission
from distilljob_aggregator.rounds.events import Dropped
from distilljob_core.errors import (
    Fenced,
    FingerprintMismatch,
    Mismatch,
    NotOpen,
    SpecError,
    StateLost,
    TeacherGone,
    TeacherNotReady,
    UnknownStudent,
)
from distilljob_core.exchange import NeedRows, NotYet, RoundKey, SplitShape
from distilljob_core.softlabels.frames import Split

SHAPES = {Split.TRAIN: SplitShape(7, 3, "train"), Split.EVALUATION: SplitShape(4, 3, "evaluation")}


def test_a_lost_reply_to_join_is_given_again_with_the_same_token(exchange):
    job = exchange()
    token = job.state.students["a"].token
    assert job.join("a") == token


def test_a_higher_attempt_gets_a_new_token_and_the_old_one_is_worth_nothing(exchange):
    job = exchange()
    old = job.state.students["a"].token
    new = job.join("a", attempt=2)
    assert new > old
    assert admission.holder(job.state, new) == "a"
    with pytest.raises(Fenced):
        admission.holder(job.state, old)


@pytest.mark.parametrize("token", [0, 99])
def test_a_token_that_nobody_got_is_fenced(exchange, token):
    job = exchange(joined=False)
    with pytest.raises(Fenced):
        admission.holder(job.state, token)


@pytest.mark.parametrize(
    ("attempt", "pod_uid"),
    [
        pytest.param(1, "a-1", id="lower-attempt"),
        pytest.param(1, "a-2", id="lower-attempt-with-the-newest-uid"),
        pytest.param(2, "another", id="second-uid-within-an-attempt"),
        pytest.param(3, "a-1", id="fenced-uid-with-a-higher-attempt"),
    ],
)
def test_a_replaced_attempt_may_never_join_again(exchange, attempt, pod_uid):
    job = exchange()
    job.join("a", attempt=2)
    with pytest.raises(Fenced):
        job.join("a", attempt, pod_uid)


def test_a_dropped_student_is_told_that_it_was_dropped(exchange):
    job = exchange()
    token = job.state.students["a"].token
    job.commit(Dropped("a", keeps_rows=False))
    with pytest.raises(Fenced, match="student a was dropped from the group"):
        admission.holder(job.state, token)


def test_a_dropped_student_may_never_join_again(exchange):
    job = exchange(joined=False)
    job.commit(Dropped("a", keeps_rows=False))
    with pytest.raises(Fenced, match="dropped"):
        job.join("a")


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"student": "z"}, UnknownStudent, "a, b, c"),
        ({"student": "a", "uid": "other"}, Mismatch, "other"),
        ({"student": "a", "attempt": 0}, Mismatch, "attempt"),
        ({"student": "a", "pod_uid": ""}, Mismatch, "UID"),
        ({"student": "a", "splits": {Split.TRAIN: SHAPES[Split.TRAIN]}}, Mismatch, "evaluation set"),
        ({"student": "a", "splits": {**SHAPES, Split.TRAIN: SplitShape(0, 3, "train")}}, Mismatch, "rows"),
        ({"student": "a", "closed_seen": 1}, StateLost, "cycle 0"),
    ],
)
def test_an_introduction_that_does_not_fit_the_job_is_refused(exchange, arguments, error, text):
    job = exchange(joined=False)
    with pytest.raises(error, match=text):
        job.join(**arguments)
    assert job.state.last_token == 0


def test_a_student_with_other_data_than_the_group_is_refused(exchange):
    job = exchange()
    with pytest.raises(FingerprintMismatch, match="other data"):
        job.join("a", attempt=2, splits={**SHAPES, Split.TRAIN: SplitShape(7, 3, "other data")})


def test_a_student_that_has_seen_what_the_journal_knows_may_join(exchange):
    job = exchange()
    job.bring("a", "b", "c")
    job.settle()
    assert job.join("a", attempt=2, closed_seen=1) > 0


def test_the_same_source_goes_on_where_it_was(exchange):
    job = exchange()
    assert job.open("a") == 0
    job.rows("a", 0, 3)
    assert job.open("a") == 3


@pytest.mark.parametrize("changes", [{"digest": "2"}, {"weight": 6}])
def test_another_source_or_weight_begins_at_row_0(exchange, changes):
    job = exchange()
    job.open("a")
    job.rows("a", 0, 3)
    assert job.open("a", **changes) == 0
    assert job.state.uploads["a"].durable_rows == 0


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"key": RoundKey(2)}, NotOpen),
        ({"key": RoundKey(2, Split.EVALUATION)}, NotOpen),
        ({"codec": "Log8"}, NotOpen),
        ({"weight": 11}, Mismatch),
        ({"num_correct": 4}, Mismatch),
    ],
)
def test_an_announcement_that_does_not_fit_the_open_round_is_refused(exchange, changes, error):
    job = exchange()
    with pytest.raises(error):
        job.open("a", **changes)
    assert job.state.uploads == {}


def test_weights_too_large_for_an_exact_sum_are_refused(exchange):
    job = exchange()
    large = 2**22
    offer = replace(job.offer("a", weight=large), holdout_size=large + 1)
    assert admission.open_round(job.state, "a", offer).upload == 1
    offer = replace(offer, weight=large + 1, num_correct=large + 1)
    with pytest.raises(SpecError, match="maximumSamples"):
        admission.open_round(job.state, "a", offer)


def test_a_closed_round_answers_with_its_record_whatever_the_digest(exchange):
    job = exchange()
    job.bring("a", "b", "c")
    job.settle()
    record = job.state.closes[0]
    assert job.open("a", RoundKey(1), digest="2") == record
    assert job.open("a", RoundKey(1)) == record
    job.open("a", RoundKey(2))
    job.rows("a", 0, 2)
    assert job.open("a", RoundKey(1)) == record, "whatever it brings to the next one"


def test_the_next_round_opens_only_when_the_teacher_is_stored(exchange):
    job = exchange()
    job.bring("a", "b", "c")
    assert job.step()
    assert job.state.closing is not None
    with pytest.raises(TeacherNotReady):
        job.open("a", RoundKey(2))
    with pytest.raises(TeacherNotReady):
        admission.fetch(job.state, "a", RoundKey(1))
    assert admission.wait(job.state, "a", RoundKey(1)) == NotYet(())
    job.settle()
    assert job.open("a", RoundKey(2)) == 0
    assert admission.fetch(job.state, "a", RoundKey(1)) == admission.wait(job.state, "a", RoundKey(1))


def test_rows_are_wanted_only_of_an_opened_upload(exchange):
    job = exchange()
    with pytest.raises(NotOpen):
        admission.accepts_rows(job.state, "a")
    job.bring("a", "b", "c")
    assert admission.accepts_rows(job.state, "a").number == 1
    job.step()
    with pytest.raises(NotOpen):
        admission.accepts_rows(job.state, "a")


def test_a_waiting_student_hears_what_is_missing(exchange):
    job = exchange()
    assert admission.wait(job.state, "a", RoundKey(1)) == NeedRows(0)
    job.open("a")
    job.rows("a", 0, 2)
    assert admission.wait(job.state, "a", RoundKey(1)) == NeedRows(2)
    job.all_rows("a")
    assert admission.wait(job.state, "a", RoundKey(1)) == NotYet(("b", "c"))


@pytest.mark.parametrize("key", [RoundKey(2), RoundKey(7), RoundKey(1, Split.EVALUATION)])
def test_nobody_can_wait_for_or_fetch_a_round_that_is_not_there(exchange, key):
    job = exchange()
    with pytest.raises(NotOpen):
        admission.wait(job.state, "a", key)
    with pytest.raises(NotOpen):
        admission.fetch(job.state, "a", key)


def test_a_teacher_beyond_the_history_is_gone(exchange):
    job = exchange(cycles=3, teacher_history=1)
    for _ in range(2):
        job.bring("a", "b", "c")
        job.settle()
    for question in (
        lambda: admission.fetch(job.state, "a", RoundKey(1)),
        lambda: admission.wait(job.state, "a", RoundKey(1)),
    ):
        with pytest.raises(TeacherGone, match="teacherHistory"):
            question()
    assert job.teacher(RoundKey(2)) == job.reference(job.state.closes[1])


def test_only_the_same_labels_can_repair_a_closed_round(exchange):
    job = exchange()
    job.bring("a", "b", "c")
    job.step()
    spool = job.folder / "spool" / "00001-train" / "b-2.rows"
    job.directory.close()
    spool.write_bytes(spool.read_bytes()[:-1])
    job.restart()
    assert not job.step()
    assert admission.wait(job.state, "b", RoundKey(1)) == NeedRows(0)
    with pytest.raises(Mismatch, match="closed with other"):
        job.open("b", RoundKey(1), digest="2")
    with pytest.raises(NotOpen, match=r"rows of b .* call Open again"):
        admission.fetch(job.state, "b", RoundKey(1))
    with pytest.raises(TeacherNotReady):
        admission.fetch(job.state, "a", RoundKey(1))
    assert job.open("a", RoundKey(1)) == 7, "nothing is wanted of it now, but that may change until the end"
    assert job.open("a", RoundKey(1), digest="2") == job.state.closes[0], "its rows could not be replaced anyway"
    assert job.open("b", RoundKey(1)) == 0
    job.all_rows("b")
    job.settle()
    assert job.teacher(RoundKey(1)) == job.reference(job.state.closes[0])
