"""When rounds close, who parks, what is kept, when a job is done."""

import pytest

from distilljob_aggregator.rounds import admission
from distilljob_aggregator.rounds.due import RowsLost, StoreTeacher, Wishes, WriteResults, next_due
from distilljob_aggregator.rounds.events import Closed, Counted, Dropped, Fetched, Finished, Parked, RowsDurable
from distilljob_aggregator.rounds.plan import Plan
from distilljob_core.exchange import Directive, RoundKey
from distilljob_core.phases import StudentPhase
from distilljob_core.softlabels.frames import Split
from distilljob_core.spec.load import check_job


def test_a_round_closes_only_with_everybodys_last_row(exchange):
    job = exchange()
    job.bring("a", "b")
    job.open("c")
    job.rows("c", 0, 6)
    assert next_due(job.state, Wishes()) is None
    job.rows("c", 6, 1)
    assert isinstance(next_due(job.state, Wishes()), Closed)


def test_rounds_follow_one_another_up_to_the_evaluation(exchange):
    job = exchange(cycles=2)
    seen = []
    while job.state.active is not None:
        seen.append(job.state.active)
        job.bring("a", "b", "c")
        job.settle()
    assert seen == [RoundKey(1), RoundKey(2), RoundKey(2, Split.EVALUATION)]
    assert [record.last for record in job.state.closes] == [False, True, True]


def test_independent_students_share_only_the_evaluation(exchange):
    job = exchange(method="Independent", cycles=5)
    assert job.state.active == RoundKey(5, Split.EVALUATION)
    job.bring("a", "b", "c")
    job.settle()
    assert job.state.active is None


def test_the_wish_to_stop_takes_effect_at_the_first_close_that_reaches_it(exchange):
    job = exchange(cycles=9)
    job.wishes = Wishes(stop_after_cycle=1)
    job.bring("a", "b", "c")
    job.settle()
    assert job.state.closes[0].last
    assert job.state.active == RoundKey(1, Split.EVALUATION)


def test_a_wish_for_a_past_cycle_stops_at_the_open_one(exchange):
    job = exchange(cycles=9)
    for _ in range(2):
        job.bring("a", "b", "c")
        job.settle()
        job.wishes = Wishes(stop_after_cycle=1)
    assert [record.last for record in job.state.closes] == [False, True]


def test_without_a_deadline_a_round_never_closes_short(exchange):
    job = exchange(minimum_students=1)
    job.bring("a")
    job.pass_time(1e9)
    assert next_due(job.state, Wishes()) is None


def test_a_deadline_without_a_quorum_closes_nothing_until_there_is_one(exchange):
    job = exchange(minimum_students=2, cycle_deadline_seconds=60)
    job.bring("a")
    job.pass_time(61)
    assert next_due(job.state, Wishes()) is None
    job.bring("b")
    due = next_due(job.state, Wishes())
    assert isinstance(due, Closed)
    assert due.record.missing == ("c",)


def test_a_short_close_leaves_no_trace_of_a_partial_upload(exchange):
    job = exchange(minimum_students=2, cycle_deadline_seconds=60)
    job.open("c")
    job.rows("c", 0, 5)
    job.rows("c", 5, 1, durable=False)
    job.bring("a", "b")
    job.pass_time(60)
    job.settle()
    assert [part.student for part in job.state.closes[0].contributions] == ["a", "b"]
    assert job.teacher(RoundKey(1)) == job.reference(job.state.closes[0])


def test_the_deadline_runs_from_the_first_durable_row(exchange):
    job = exchange(minimum_students=1, cycle_deadline_seconds=60)
    job.open("a")
    job.pass_time(100)
    job.rows("a", 0, 1, durable=False)
    job.pass_time(100)
    assert job.state.deadline_seconds == 0
    job.rows("a", 1, 1)
    job.pass_time(30)
    assert job.state.deadline_seconds == 30


def test_the_deadline_stands_still_while_the_missing_wait_for_a_place(exchange):
    job = exchange(joined=False, minimum_students=1, cycle_deadline_seconds=60, maximum_concurrent=1)
    job.join("a")
    job.bring("a")
    job.settle()
    job.join("b")
    job.pass_time(10)
    assert job.state.deadline_seconds == 10, "b holds the place and is missing"
    job.bring("b")
    job.settle()
    job.pass_time(10)
    assert job.state.students["b"].is_parked
    assert job.state.deadline_seconds == 20, "the place is free and c does not come"


def test_a_student_that_waits_for_a_place_stops_the_clock(exchange):
    job = exchange(2, joined=False, minimum_students=1, cycle_deadline_seconds=60, maximum_concurrent=1)
    job.join("a")
    job.bring("a")
    job.pass_time(100)
    assert job.state.deadline_seconds == 0


def test_when_all_weights_are_zero_everybody_counts_as_one(exchange):
    job = exchange()
    job.bring("a", "b", "c", weight=0)
    job.settle()
    record = job.state.closes[0]
    assert (record.weight_sum, record.uniform_fallback) == (3, True)
    assert job.teacher(RoundKey(1)) == job.reference(record)


def test_a_student_with_all_its_rows_makes_room_for_one_that_waits(exchange):
    job = exchange(joined=False, maximum_concurrent=2)
    job.join("a")
    job.join("b")
    job.open("a")
    job.settle()
    assert not job.state.students["a"].is_parked
    job.all_rows("a")
    assert next_due(job.state, Wishes()) == Parked("a", 1, "a-1")
    job.settle()
    assert job.state.running() == ("b",)
    job.bring("b")
    job.settle()
    assert job.state.running() == ("b",), "one place is free for the only one that waits"


def test_no_more_students_park_than_wait(exchange):
    job = exchange(joined=False, maximum_concurrent=2)
    for student in "abc":
        job.join(student)
        job.bring(student)
        job.settle()
    assert (job.state.active, job.state.running()) == (RoundKey(2), ("b", "c"))
    job.bring("b", "c")
    job.settle()
    assert (job.state.missing(), job.state.running()) == (("a",), ("c",))


def test_a_newer_attempt_of_a_parked_student_runs_again(exchange):
    job = exchange(joined=False, maximum_concurrent=1)
    for student in "abc":
        job.join(student)
        job.bring(student)
        job.settle()
    assert job.state.closes[0].missing == ()
    assert job.state.running() == ("c",)
    assert job.state.waits_for_place("a")
    job.join("a", attempt=2)
    assert not job.state.students["a"].is_parked


def parked_beyond_its_round(exchange):
    """a was told to park for c, which was dropped before a had left; cycle 2 is open."""
    job = exchange(joined=False, maximum_concurrent=2, minimum_students=1, cycle_deadline_seconds=60)
    for student in "ab":
        job.join(student)
    job.bring("a")
    job.settle()
    assert admission.directive(job.state, "a") is Directive.PARK
    assert admission.unpark(job.state, name="a", phase=StudentPhase.DISTILLING) is None
    job.wishes = Wishes(dropped=frozenset({"c"}))
    job.bring("b")
    job.settle()
    assert (job.state.active, job.state.running()) == (RoundKey(2), ("b",))
    return job


def test_a_student_that_was_told_to_park_in_an_older_round_goes_on(exchange):
    job = parked_beyond_its_round(exchange)
    assert admission.directive(job.state, "a") is Directive.GO_ON
    assert admission.unpark(job.state, name="a", phase=StudentPhase.WAITING) is None
    assert admission.unpark(job.state, name="b", phase=StudentPhase.DISTILLING) is None


def test_a_student_that_trains_after_its_park_is_late_like_any_other(exchange):
    job = parked_beyond_its_round(exchange)
    job.commit(admission.unpark(job.state, name="a", phase=StudentPhase.DISTILLING))
    assert job.state.running() == ("a", "b")
    assert job.state.students["a"].parked_attempt == 1, "it may have been told, and leave with code 75 still"
    job.bring("b")
    job.pass_time(60)
    job.settle()
    assert job.state.closes[-1].missing == ("a",)


def test_a_student_that_opens_a_round_after_its_park_holds_a_place(exchange):
    job = parked_beyond_its_round(exchange)
    job.open("a")
    assert job.state.running() == ("a", "b")
    job.join("a", attempt=2)
    assert job.state.students["a"].parked_attempt is None


def test_nobody_parks_where_all_run_at_once(exchange):
    job = exchange()
    job.bring("a", "b")
    job.settle()
    assert job.state.running() == ("a", "b", "c")


def test_a_parked_student_whose_rows_were_damaged_gets_the_place_of_one_that_only_waits(exchange):
    job = exchange(2, joined=False, maximum_concurrent=1)
    job.join("a")
    job.bring("a")
    job.settle()
    job.join("b")
    job.bring("b")
    assert job.step()
    assert job.state.closing is not None
    job.observe(RowsDurable("a", 1, 2))
    assert next_due(job.state, Wishes()) == Parked("b", 1, "b-1")


def test_old_teachers_go_and_the_evaluations_stays(exchange):
    job = exchange(cycles=3, teacher_history=2)
    while job.state.active is not None:
        job.bring("a", "b", "c")
        job.settle()
    assert sorted(job.state.stored) == [RoundKey(2), RoundKey(3), RoundKey(3, Split.EVALUATION)]
    assert job.state.forgotten == {RoundKey(1)}


def test_a_dropped_students_whole_contribution_stays_and_a_partial_one_goes(exchange):
    job = exchange()
    job.bring("a")
    job.open("b")
    job.rows("b", 0, 3)
    job.wishes = Wishes(dropped=frozenset({"a", "b", "nobody"}))
    job.settle()
    assert (job.state.missing(), tuple(job.state.uploads)) == (("c",), ("a",))
    job.bring("c")
    job.settle()
    record = job.state.closes[0]
    assert [part.student for part in record.contributions] == ["a", "c"]
    assert job.teacher(RoundKey(1)) == job.reference(record)


def test_a_drop_while_the_teacher_is_made_changes_nothing_in_it(exchange):
    job = exchange()
    job.bring("a", "b", "c")
    job.step()
    job.wishes = Wishes(dropped=frozenset({"a"}))
    job.settle()
    assert [part.student for part in job.state.closes[0].contributions] == ["a", "b", "c"]
    assert job.teacher(RoundKey(1)) == job.reference(job.state.closes[0])


def test_a_contributor_that_is_dropped_with_damaged_rows_is_still_a_contributor(exchange):
    """The record says so, and nobody can bring its rows again: the round cannot be finished, and that is said."""
    job = exchange()
    job.bring("a", "b", "c")
    job.step()
    job.observe(RowsDurable("a", 1, 2))
    job.wishes = Wishes(dropped=frozenset({"a"}))
    job.settle()
    assert job.state.missing() == ("a",)
    assert set(job.state.uploads) == {"a", "b", "c"}
    assert next_due(job.state, job.wishes) == RowsLost(RoundKey(1), ("a",))


def test_waiting_that_was_counted_outlives_a_kill_before_the_close(exchange):
    job = exchange(2)
    job.bring("a")
    job.pass_time(5)
    job.commit(Counted(10, 20, job.state.barrier_seconds()))
    job.pass_time(3)
    job.restart()
    assert job.state.barrier_seconds() == {"a": 5, "b": 0}
    assert (job.state.up_bytes, job.state.down_bytes) == (10, 20)


def test_a_drop_closes_a_round_that_waited_only_for_that_student(exchange):
    job = exchange(joined=False)
    job.join("a")
    job.join("b")
    job.bring("a", "b")
    job.wishes = Wishes(dropped=frozenset({"c"}))
    job.settle()
    assert job.state.closes[0].missing == ()


def test_a_job_is_complete_when_every_member_of_the_last_round_has_finished(exchange, summary):
    job = exchange(cycles=1)
    for _ in range(2):
        job.bring("a", "b", "c")
        job.settle()
    for student in "ab":
        job.commit(Finished(student, summary(student), 5.0))
    assert next_due(job.state, Wishes()) is None
    job.commit(Finished("c", summary("c"), 7.0))
    assert next_due(job.state, Wishes()) == WriteResults()
    job.settle()
    assert (job.state.is_complete, job.state.finished_seconds) == (True, 7.0)


def test_a_job_waits_for_the_record_of_a_student_that_is_late_and_not_dropped(exchange, summary):
    job = exchange(cycles=1, minimum_students=2, cycle_deadline_seconds=60)
    job.bring("a", "b", "c")
    job.settle()
    job.bring("a", "b")
    job.pass_time(60)
    job.settle()
    assert job.state.closes[-1].missing == ("c",)
    for student in "ab":
        job.commit(Finished(student, summary(student), 5.0))
    assert next_due(job.state, Wishes()) is None
    assert next_due(job.state, Wishes(dropped=frozenset({"c"}))) == Dropped("c", keeps_rows=False)
    job.commit(Finished("c", summary("c"), 7.0))
    assert next_due(job.state, Wishes()) == WriteResults()


def test_a_finished_student_cannot_be_dropped_and_a_job_of_only_dropped_ones_never_completes(exchange, summary):
    job = exchange(1, cycles=1)
    for _ in range(2):
        job.bring("a")
        job.settle()
    finished = Finished("a", summary("a"), 5.0)
    job.wishes = Wishes(dropped=frozenset({"a"}))
    before = job.state
    job.settle()
    assert job.state.students["a"].is_dropped
    assert not job.state.is_complete
    job.state = before
    job.commit(finished)
    job.settle()
    assert not job.state.students["a"].is_dropped
    assert job.state.is_complete


def test_waiting_is_timed_from_the_last_row_to_the_close_and_survives_a_restart(exchange):
    job = exchange()
    job.bring("a")
    job.pass_time(10)
    job.bring("b")
    job.pass_time(5)
    job.bring("c")
    job.settle()
    job.restart()
    assert [job.state.students[name].barrier_seconds for name in "abc"] == [15, 5, 0]


def test_counts_and_fetches_are_kept(exchange):
    job = exchange()
    job.commit(Counted(10, 3))
    job.commit(Counted(5, 4))
    job.commit(Fetched("a", RoundKey(1)))
    assert (job.state.up_bytes, job.state.down_bytes) == (15, 7)
    assert job.state.students["a"].fetched == RoundKey(1)


def test_rows_of_a_withdrawn_upload_are_not_counted(exchange):
    job = exchange()
    job.open("a")
    job.open("a", digest="2")
    job.observe(RowsDurable("a", 1, 5), RowsDurable("b", 1, 5))
    assert job.state.uploads["a"].durable_rows == 0


def test_nothing_is_due_and_no_time_counts_after_the_last_round(exchange):
    job = exchange(1, cycles=1)
    for _ in range(2):
        job.bring("a")
        job.settle()
    job.pass_time(10)
    assert (job.state.open_seconds, job.state.missing()) == (0, ())
    assert next_due(job.state, Wishes()) is None


def test_before_anybody_joined_no_split_has_rows(exchange):
    job = exchange(joined=False)
    assert job.state.num_rows(RoundKey(1)) == 0
    assert next_due(job.state, Wishes()) is None


def test_after_a_restart_a_close_record_is_followed_not_decided_again(exchange):
    job = exchange(cycles=9)
    job.bring("a", "b", "c")
    job.step()
    job.wishes = Wishes(stop_after_cycle=1, dropped=frozenset({"c"}))
    job.restart()
    assert isinstance(next_due(job.state, Wishes()), StoreTeacher)
    job.settle()
    record = job.state.closes[0]
    assert (record.last, len(record.contributions)) == (False, 3)
    assert job.teacher(RoundKey(1)) == job.reference(record)


@pytest.mark.parametrize(("history", "expected"), [("All", None), (2, 2)])
def test_the_plan_is_read_from_the_resource(history, expected):
    job = check_job(
        {
            "apiVersion": "distilljob.dev/v1alpha1",
            "kind": "DistillJob",
            "metadata": {"name": "j", "uid": "u"},
            "spec": {
                "dataset": {"name": "digits"},
                "method": {"cycles": 3, "temperature": 2.0},
                "students": [{"name": "a", "model": {"name": "mlp_small"}, "replicas": 2}],
                "aggregator": {"teacherHistory": history},
                "quorum": {"minimumStudents": 1, "cycleDeadlineSeconds": 7},
                "placement": {"maximumConcurrentStudents": 1},
            },
        }
    )
    assert Plan.from_job(job) == Plan(
        job="j",
        uid="u",
        method="MD",
        students=("a-0", "a-1"),
        cycles=3,
        codec="Float16",
        weights="Accuracy",
        temperature=2.0,
        minimum_students=1,
        cycle_deadline_seconds=7,
        maximum_concurrent=1,
        teacher_history=expected,
    )
