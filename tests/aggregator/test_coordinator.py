"""Answers that depend on what happens meanwhile: a round that ends, a clock that is set."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry

from distilljob_aggregator.coordinator import Coordinator
from distilljob_aggregator.journal import Journal
from distilljob_aggregator.ledger import Ledger
from distilljob_aggregator.metrics import AggregatorMetrics
from distilljob_aggregator.rounds.events import TeacherStored
from distilljob_core.clock import SteadyClock
from distilljob_core.exchange import CloseRecord, Report, RoundKey
from distilljob_core.phases import StudentPhase

TRAIN = RoundKey(1)


@pytest.fixture
def coordinating(tmp_path):
    """Answer for a job as it stands."""

    @asynccontextmanager
    async def coordinate(job):
        journal = Journal(tmp_path / "journal")
        with ThreadPoolExecutor(1) as pool:
            ledger = Ledger(job.state, journal, pool)
            coordinator = Coordinator(
                ledger, job.directory, pool, AggregatorMetrics(CollectorRegistry()), SteadyClock()
            )
            coordinator.is_loaded = True
            yield coordinator
            await ledger.settle()
        journal.close()

    return coordinate


def close(job):
    """Decide the open round; its teacher is not stored yet."""
    assert job.step()
    assert job.state.closing is not None


def test_a_contributor_that_asks_again_before_the_teacher_is_stored_hears_that_all_its_rows_are_there(
    exchange, coordinating
):
    """Its acknowledgement was lost, or it was started again: it has nothing to send, and may wait."""
    job = exchange(2)
    job.bring("a", "b")
    close(job)

    async def ask():
        async with coordinating(job) as coordinator:
            return await coordinator.open("a", job.state.students["a"].token, job.offer("a"))

    assert asyncio.run(ask()) == job.state.num_rows(TRAIN)


def test_a_round_that_ends_while_a_student_asks_is_answered_with_its_record(exchange, coordinating, monkeypatch):
    job = exchange(2)
    job.bring("a", "b")
    offer = job.offer("a")
    close(job)
    record = job.state.closing
    job.directory.store_teacher(job.state, record)

    async def ask():
        async with coordinating(job) as coordinator:
            align = job.directory.align

            def align_late(read_state):
                coordinator.ledger.observe(TeacherStored(TRAIN))
                monkeypatch.undo()
                return align(read_state)

            monkeypatch.setattr(job.directory, "align", align_late)
            return await coordinator.open("a", job.state.students["a"].token, offer)

    answer = asyncio.run(ask())
    assert isinstance(answer, CloseRecord)
    assert answer == record


def test_rows_of_the_next_round_are_safe_from_the_end_of_the_one_before(exchange):
    """A student opens the next round before the worker has come to delete the uploads of the last one."""
    job = exchange(2)
    job.bring("a", "b")
    close(job)
    record = job.state.closing
    job.directory.store_teacher(job.state, record)
    job.commit(TeacherStored(record.round))
    job.open("a", RoundKey(2))
    job.rows("a", 0, 4)
    job.directory.align(lambda: job.state)  # what the worker does when a teacher is stored
    job.rows("a", 4, 3)
    job.bring("b")
    job.settle()
    assert job.teacher(RoundKey(2)) == job.reference(job.state.closes[1])
    assert not list(job.folder.glob("spool/00001-train"))


@pytest.mark.parametrize("step_seconds", [-7200.0, 7200.0])
def test_setting_the_systems_clock_changes_no_age(exchange, coordinating, monkeypatch, step_seconds):
    """Else a hang after a step back would go unseen for hours, and after a step forward everybody would hang."""
    job = exchange(1)
    real = time.time

    async def hear_and_look():
        async with coordinating(job) as coordinator:
            await coordinator.heartbeat("a", Report(StudentPhase.DISTILLING))
            monkeypatch.setattr(time, "time", lambda: real() + step_seconds)
            begun_seconds = coordinator.table().clock_timestamp_seconds
            return begun_seconds, coordinator.table()

    begun_seconds, table = asyncio.run(hear_and_look())
    assert abs(begun_seconds - real()) < 60
    student = table.students[0]
    for age_seconds in (
        table.clock_timestamp_seconds - student.last_heartbeat_timestamp_seconds,
        table.clock_timestamp_seconds - student.last_progress_timestamp_seconds,
        table.clock_timestamp_seconds - table.started_timestamp_seconds,
    ):
        assert 0 <= age_seconds < 60
