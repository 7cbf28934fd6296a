"""Does what is due, one thing after the other: closes rounds, stores teachers, parks, drops, writes the results."""

import asyncio
import time
from typing import Final

import structlog

from distilljob_aggregator.coordinator import Coordinator
from distilljob_aggregator.ledger import wait_for
from distilljob_aggregator.metrics import AggregatorMetrics
from distilljob_aggregator.results_volume import ResultsVolume
from distilljob_aggregator.rounds.due import RowsLost, StoreTeacher, Wishes, WriteResults, next_due
from distilljob_aggregator.rounds.events import (
    Closed,
    Completed,
    Counted,
    Dropped,
    Parked,
    RowsDurable,
    TeacherForgotten,
    TeacherStored,
)
from distilljob_aggregator.state_directory import StateDirectory
from distilljob_core.errors import Fenced, ResultsFull, StateLost, StorageFull
from distilljob_core.exchange import CloseRecord

TICK_SECONDS: Final = 0.25
COUNT_SECONDS: Final = 60.0
"""A kill takes at most this much of the waiting times and of the traffic counted."""
FULL_SECONDS: Final = 2.0
"""Pause before a full volume is tried again."""

_log = structlog.get_logger(__name__)


class Worker:
    """Reads from the state what is due, so that a restart needs no memory of what was going on."""

    def __init__(
        self, coordinator: Coordinator, directory: StateDirectory, results: ResultsVolume, metrics: AggregatorMetrics
    ) -> None:
        self._wishes = Wishes()
        self._coordinator = coordinator
        self._ledger = coordinator.ledger
        self._directory = directory
        self._results = results
        self._metrics = metrics
        self._counted_at_seconds = time.monotonic()
        self._counted_barrier_seconds = coordinator.state.barrier_seconds()

    def wish(self, wishes: Wishes) -> None:
        """Set what is wished from now on: the content of the control file."""
        self._wishes = wishes

    async def count(self) -> None:
        """Put on record what was exchanged and waited for since the last count.

        Raises:
            StorageFull: no space left; it still counts.
        """
        traffic = self._coordinator.traffic
        up_bytes, down_bytes = traffic.up_bytes, traffic.down_bytes
        counted = await self._ledger.decide(lambda state: Counted(up_bytes, down_bytes, state.barrier_seconds()))
        traffic.up_bytes -= up_bytes
        traffic.down_bytes -= down_bytes
        self._counted_barrier_seconds = counted.barrier_seconds
        self._counted_at_seconds = time.monotonic()

    async def run(self) -> None:
        """Work until cancelled. Anything unforeseen ends it, and with it the process."""
        rows = await self._coordinator.in_pool(self._directory.load, self._ledger.state)
        self._ledger.pass_time()  # reading took its time; no deadline runs before rows are known
        self._observe_rows(rows)
        self._coordinator.is_loaded = True
        while True:
            changed = self._ledger.changed
            try:
                is_busy = await self._step()
                await self._count_now_and_then()
            except (StorageFull, ResultsFull) as error:
                self._coordinator.note(error)
                _log.warning("storage full", error=str(error))
                await asyncio.sleep(FULL_SECONDS)
                continue
            if not is_busy:
                await wait_for(changed, TICK_SECONDS)

    async def _step(self) -> bool:
        """Do one thing; gives whether there was one."""
        due = await self._ledger.decide(lambda state: next_due(state, self._wishes))
        match due:
            case Closed():
                await self._closed(due.record)
            case StoreTeacher():
                await self._store_teacher(due.record)
            case RowsLost():
                raise StateLost(
                    f"rows of {', '.join(due.students)} for {due.round} were damaged on the state volume, and dropped "
                    "students cannot bring them again; start the job anew"
                )
            case TeacherForgotten():
                await self._coordinator.in_pool(self._directory.forget_teacher, due.round)
            case Parked():
                _log.info("parked", student=due.student, attempt=due.attempt)
            case Dropped():
                _log.warning("dropped", student=due.student)
                self._coordinator.cut(due.student, Fenced(f"student {due.student} was dropped from the group"))
                await self._coordinator.in_pool(self._directory.align, lambda: self._ledger.state)
            case WriteResults():
                await self._write_results()
        return due is not None

    async def _closed(self, record: CloseRecord) -> None:
        self._metrics.round_wait_seconds.observe(self._ledger.state.waited_seconds)
        names = [part.student for part in record.contributions]
        _log.info("closed", round=str(record.round), contributors=names, missing=record.missing, last=record.last)
        await self.count()

    async def _store_teacher(self, record: CloseRecord) -> None:
        try:
            await self._coordinator.in_pool(self._directory.store_teacher, self._ledger.state, record)
        except StateLost as error:
            _log.error("upload damaged", error=str(error))
            self._observe_rows(await self._coordinator.in_pool(self._directory.recheck))
            return
        await self._ledger.decide(lambda _: TeacherStored(record.round))
        self._coordinator.wrote("State")
        await self._coordinator.in_pool(self._directory.align, lambda: self._ledger.state)
        _log.info("teacher stored", round=str(record.round), weight_sum=record.weight_sum)

    async def _write_results(self) -> None:
        await self.count()
        await self._coordinator.in_pool(self._results.write_results, self._ledger.state)
        self._coordinator.wrote("Results")
        await self._ledger.decide(lambda _: Completed())
        self._coordinator.wrote("State")
        _log.info("complete")

    async def _count_now_and_then(self) -> None:
        is_due = time.monotonic() - self._counted_at_seconds >= COUNT_SECONDS
        traffic = self._coordinator.traffic
        waiting = self._ledger.state.barrier_seconds() != self._counted_barrier_seconds
        if is_due and (waiting or traffic.up_bytes or traffic.down_bytes):
            await self.count()

    def _observe_rows(self, rows: dict[str, int]) -> None:
        for student, num_rows in rows.items():
            upload = self._ledger.state.uploads.get(student)
            if upload is not None:
                self._ledger.observe(RowsDurable(student, upload.number, num_rows))
