"""The worker after a restart."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry

from distilljob_aggregator import ledger as ledger_module
from distilljob_aggregator.coordinator import Coordinator
from distilljob_aggregator.journal import Journal
from distilljob_aggregator.ledger import Ledger
from distilljob_aggregator.metrics import AggregatorMetrics
from distilljob_aggregator.results_volume import ResultsVolume
from distilljob_aggregator.rounds.due import Wishes
from distilljob_aggregator.state_directory import StateDirectory
from distilljob_aggregator.worker import Worker
from distilljob_core.clock import SteadyClock
from distilljob_core.errors import StateLost


def test_the_time_of_reading_the_spool_is_not_charged_to_the_deadline(exchange, tmp_path, monkeypatch):
    job = exchange(2, minimum_students=1, cycle_deadline_seconds=60)
    job.bring("a")
    job.directory.close()
    clock = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(ledger_module, "time", SimpleNamespace(monotonic=lambda: clock.seconds))

    class SlowDirectory(StateDirectory):
        def load(self, state):
            clock.seconds += 1000
            return super().load(state)

    async def restart(pool):
        journal = Journal(tmp_path / "journal")
        ledger = Ledger(job.replayed(), journal, pool)
        directory = SlowDirectory(job.folder, "Float16")
        metrics = AggregatorMetrics(CollectorRegistry())
        coordinator = Coordinator(ledger, directory, pool, metrics, SteadyClock())
        worker = Worker(coordinator, directory, ResultsVolume(tmp_path / "results", "ab"), metrics)
        working = asyncio.ensure_future(worker.run())
        while not coordinator.is_loaded:
            await ledger.changed.wait()
        await ledger.decide(lambda _: None)  # after the worker's first
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        await ledger.settle()
        directory.close()
        journal.close()
        return ledger.state

    with ThreadPoolExecutor(1) as pool:
        state = asyncio.run(restart(pool))
    assert state.has_all_rows("a")
    assert (state.deadline_seconds, state.closes) == (0, ())


def test_damaged_rows_of_a_dropped_student_end_the_job_instead_of_holding_it_for_ever(exchange, tmp_path):
    job = exchange(2)
    job.bring("a", "b")
    assert job.step()
    job.wishes = Wishes(dropped=frozenset({"a"}))
    assert job.step()
    job.directory.close()
    file = job.folder / "spool" / "00001-train" / "a-1.rows"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)

    async def work(pool):
        journal, directory = Journal(tmp_path / "journal"), StateDirectory(job.folder, "Float16")
        metrics = AggregatorMetrics(CollectorRegistry())
        coordinator = Coordinator(Ledger(job.replayed(), journal, pool), directory, pool, metrics, SteadyClock())
        try:
            async with asyncio.timeout(30):
                await Worker(coordinator, directory, ResultsVolume(tmp_path / "results", "ab"), metrics).run()
        finally:
            directory.close()
            journal.close()

    with ThreadPoolExecutor(1) as pool, pytest.raises(StateLost, match="rows of a for cycle 1, train were damaged"):
        asyncio.run(work(pool))
