"""The worker after a restart."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

from prometheus_client import CollectorRegistry

from distilljob_aggregator import ledger as ledger_module
from distilljob_aggregator.coordinator import Coordinator
from distilljob_aggregator.journal import Journal
from distilljob_aggregator.ledger import Ledger
from distilljob_aggregator.metrics import AggregatorMetrics
from distilljob_aggregator.results_volume import ResultsVolume
from distilljob_aggregator.state_directory import StateDirectory
from distilljob_aggregator.worker import Worker
from distilljob_core.clock import SteadyClock


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
