"""The workers: a bounded number of jobs are reconciled at the same time, each job by one worker at most."""

import asyncio
import time
from typing import Protocol

import structlog

from distilljob_operator.errors import ApiError
from distilljob_operator.metrics import OperatorMetrics
from distilljob_operator.store import JobKey
from distilljob_operator.workqueue import WorkQueue

_log = structlog.get_logger(__name__)


class Reconciles(Protocol):
    """Whoever makes the cluster as a job wants it."""

    async def reconcile(self, key: JobKey) -> None:
        """Look at one job and do what is due.

        Raises:
            ApiError: the API server refused or failed; the job is tried again after a pause.
        """


class Workers:
    """Take keys from the queue until they are told to stop."""

    def __init__(
        self, queue: WorkQueue[JobKey], reconciler: Reconciles, metrics: OperatorMetrics, num_workers: int
    ) -> None:
        self._queue = queue
        self._reconciler = reconciler
        self._metrics = metrics
        self._num_workers = num_workers
        self._num_busy = 0
        self._is_stopping = False
        self._idle = asyncio.Event()

    async def run(self) -> None:
        """Work until `stop`."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._num_workers):
                group.create_task(self._work())

    async def stop(self, seconds: float) -> None:
        """Begin nothing new, and wait until what was begun is finished, but no longer than that."""
        self._is_stopping = True
        try:
            async with asyncio.timeout(seconds):
                while self._num_busy:
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            _log.warning("jobs are left in mid-work", jobs=self._num_busy)

    async def _work(self) -> None:
        while not self._is_stopping:
            key = await self._queue.get()
            if self._is_stopping:
                return
            self._num_busy += 1
            try:
                with structlog.contextvars.bound_contextvars(job="/".join(key)):
                    await self._reconcile(key)
            finally:
                self._num_busy -= 1
                self._idle.set()
                self._queue.done(key)

    async def _reconcile(self, key: JobKey) -> None:
        started_seconds = time.perf_counter()
        result = "done"
        try:
            await self._reconciler.reconcile(key)
            self._queue.forget(key)
        except ApiError as error:
            result = "put_off"
            _log.info("put off", error=str(error), reason=error.reason, status=error.status)
            self._queue.retry(key, error.retry_after_seconds)
        except Exception:  # a mistake of ours about one job must not stop the others
            result = "failed"
            _log.exception("failed")
            self._queue.retry(key)
        self._metrics.reconciles.labels(result).inc()
        self._metrics.reconcile_seconds.observe(time.perf_counter() - started_seconds)
