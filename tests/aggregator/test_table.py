"""The round table: whose word counts about where a student is."""

import pytest

from distilljob_aggregator.live import Live
from distilljob_aggregator.rounds.due import Wishes
from distilljob_aggregator.rounds.events import Fetched, Finished, Parked, RowsDurable
from distilljob_aggregator.table import round_table
from distilljob_core.exchange import Report, RoundKey
from distilljob_core.phases import StudentPhase


def view(job, live, now=1000.0, name="a"):
    table = round_table(job.state, live, now_seconds=now, process_started_seconds=990.0, storage_full=None)
    return next(student for student in table.students if student.name == name)


class Settable:
    """What tells the time in a test."""

    seconds = 0.0

    def __call__(self):
        return self.seconds


class LiveAt(Live):
    """Hears at times of the test's choice."""

    def __init__(self):
        super().__init__(clock := Settable())
        self._clock = clock

    def at(self, seconds):
        self._clock.seconds = seconds
        return self


@pytest.fixture
def live():
    return LiveAt()


def test_a_student_never_heard_of_is_starting(exchange, live):
    seen = view(exchange(joined=False), live)
    assert (seen.phase, seen.attempt, seen.ever_joined) == (StudentPhase.STARTING, 0, False)
    assert (seen.last_heartbeat_timestamp_seconds, seen.rows_total) == (0.0, 0)


def test_only_a_moving_counter_or_phase_is_progress(exchange, live):
    job = exchange()
    live.at(10.0).join("a")
    live.at(11.0).hear("a", Report(StudentPhase.INDEPENDENT, progress=1))
    live.at(12.0).hear("a", Report(StudentPhase.INDEPENDENT, step=5, progress=1))
    assert view(job, live).last_progress_timestamp_seconds == 11.0
    assert view(job, live).last_heartbeat_timestamp_seconds == 12.0
    live.at(13.0).hear("a", Report(StudentPhase.EVALUATING, progress=1))
    assert view(job, live).last_progress_timestamp_seconds == 13.0
    live.at(14.0).progress("a")
    live.at(14.0).progress("b")
    assert view(job, live).last_progress_timestamp_seconds == 14.0
    assert live.of("b") is None


def test_a_newer_attempt_begins_with_nothing(exchange, live):
    job = exchange()
    live.at(11.0).hear("a", Report(StudentPhase.INDEPENDENT, step=5, accuracy={"test": 0.5}))
    live.at(20.0).join("a")
    seen = view(job, live)
    assert (seen.phase, seen.step, seen.accuracy) == (StudentPhase.STARTING, 0, {})


def test_a_parked_student_shows_its_own_phase_until_it_has_left(exchange, live):
    job = exchange(maximum_concurrent=3)
    job.bring("a")
    job.commit(Parked("a", 1, "a-1"))
    live.at(1000.0).hear("a", Report(StudentPhase.CHECKPOINTING))
    assert view(job, live, now=1001.0).phase is StudentPhase.CHECKPOINTING
    assert view(job, live, now=1020.0).phase is StudentPhase.PARKED
    live.at(1001.0).hear("a", Report(StudentPhase.PARKED))
    seen = view(job, live, now=1001.0)
    assert (seen.phase, seen.parked_attempt, seen.owes_rows) == (StudentPhase.PARKED, 1, False)


def test_a_parked_student_whose_rows_were_lost_needs_rows(exchange, live):
    job = exchange(maximum_concurrent=3)
    job.bring("a")
    job.commit(Parked("a", 1, "a-1"))
    job.observe(RowsDurable("a", 1, 2))
    seen = view(job, live)
    assert (seen.phase, seen.owes_rows, seen.rows_durable, seen.rows_total) == (StudentPhase.NEEDS_ROWS, True, 2, 7)


def test_the_end_of_a_student_is_the_states_word(exchange, live, summary):
    job = exchange()
    job.commit(Finished("a", summary("a"), 5.0))
    job.wishes = Wishes(dropped=frozenset({"b"}))
    job.settle()
    live.at(11.0).hear("a", Report(StudentPhase.INDEPENDENT))
    live.at(11.0).hear("b", Report(StudentPhase.INDEPENDENT))
    assert view(job, live).phase is StudentPhase.FINISHED
    assert view(job, live, name="b").phase is StudentPhase.DROPPED
    assert not view(job, live, name="b").owes_rows


def test_who_has_not_fetched_a_stored_teacher_is_behind(exchange, live):
    job = exchange()
    assert not view(job, live).behind
    job.bring("a", "b", "c")
    job.settle()
    assert view(job, live).behind
    job.commit(Fetched("a", RoundKey(1)))
    assert not view(job, live).behind
    table = round_table(job.state, live, now_seconds=1.0, process_started_seconds=0.0, storage_full="State")
    assert (table.closes[0].contributors, table.closes[0].weights) == (["a", "b", "c"], [5, 5, 5])
    assert (table.open.cycle, table.open.split, table.storage_full) == (2, "train", "State")
    while job.state.active is not None:
        job.bring("a", "b", "c")
        job.settle()
    assert round_table(job.state, live, now_seconds=1.0, process_started_seconds=0.0, storage_full=None).open is None
