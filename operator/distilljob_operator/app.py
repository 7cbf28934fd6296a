"""The operator's process: everything is made here, started in order, and stopped in order."""

import asyncio
import signal
from collections.abc import Callable, Collection
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from typing import Final

import aiohttp
import structlog

from distilljob_core.clock import SteadyClock
from distilljob_core.errors import DistillJobError
from distilljob_operator.api import Api
from distilljob_operator.background import Background
from distilljob_operator.children import PODS
from distilljob_operator.connection import Connection, connect
from distilljob_operator.credentials import credentials
from distilljob_operator.errors import ApiError, NotFound, TooManyRequests, Unavailable
from distilljob_operator.events import COMPONENT, Events
from distilljob_operator.health import Check, LoopWatch, silence_check, start_web
from distilljob_operator.informer import RECONNECT
from distilljob_operator.job_audit import JobAudit, job_paths
from distilljob_operator.job_watch import JobWatch
from distilljob_operator.jobs import JobRecord, Jobs
from distilljob_operator.lease import Lease
from distilljob_operator.metrics import OperatorMetrics, Readings, StateCollector
from distilljob_operator.progress.fetch import Direct, ThroughApiServer
from distilljob_operator.progress.look import Source
from distilljob_operator.progress.poller import Poller, open_session
from distilljob_operator.progress.prometheus import Prometheus
from distilljob_operator.progress.scrape import Scrape
from distilljob_operator.settings import Settings
from distilljob_operator.store import JobKey
from distilljob_operator.watches import Watches
from distilljob_operator.workers import Reconciles, Workers
from distilljob_operator.workqueue import WorkQueue

_GATHER_SECONDS: Final = 0.05
"""A job's pods change together: what comes within so short a time is looked at once."""
_FINISH_SECONDS: Final = 5.0
_FLUSH_SECONDS: Final = 1.0
_RELEASE_SECONDS: Final = 2.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Tools:
    """What reconciling is done with."""

    settings: Settings
    clock: Callable[[], float]
    api: Api
    jobs: Jobs
    watches: Watches
    queue: WorkQueue[JobKey]
    events: Events
    metrics: OperatorMetrics
    poller: Poller


async def serve(settings: Settings, make_reconciler: Callable[[Tools], Reconciles]) -> int:
    """Serve until SIGTERM or SIGINT; gives the exit code.

    Raises:
        DistillJobError: no way to the cluster, no CRD, port taken, lease lost.
    """
    stop = asyncio.Event()
    _on_signals(stop)
    async with connect(settings.kubeconfig, settings.context) as connection, open_session() as session:
        operator = Operator(settings, connection, session, make_reconciler)
        await operator.run(stop)
    return 0


class Operator:
    """All parts of one operator."""

    def __init__(
        self,
        settings: Settings,
        connection: Connection,
        session: aiohttp.ClientSession,
        make_reconciler: Callable[[Tools], Reconciles],
    ) -> None:
        clock = SteadyClock().now
        self._settings = settings
        self._clock = clock
        self._metrics = metrics = OperatorMetrics()
        self._api = api = Api(connection, on_request=metrics.on_request)
        self._jobs = jobs = Jobs()
        self._queue: WorkQueue[JobKey] = WorkQueue(clock)
        self._watches = Watches(api, self._on_child, settings.namespace, clock=clock)
        self._events = Events(api, settings.holder, lambda reason: metrics.events_dropped.labels(reason).inc())
        self._job_watch = JobWatch(
            jobs, self._queue.add, lambda: credentials(connection.configuration), settings.namespace
        )
        self._audit = JobAudit(api, jobs, self._job_watch.delivered, self._queue.add, namespaces=settings.namespace)
        lease_name = _lease_name(settings.namespace)
        self._lease = Lease(api, _lease_namespace(settings), lease_name, settings.holder, clock=clock)
        self._is_leading = not settings.lease
        self._loop_watch = LoopWatch(clock, metrics.loop_lag_seconds.set)
        self._poller = Poller(
            _progress_source(settings, connection, session, clock),
            self._queue.add,
            clock=clock,
            poll_seconds=settings.poll_seconds,
            on_error=lambda source: metrics.progress_errors.labels(source).inc(),
        )
        tools = Tools(settings, clock, api, jobs, self._watches, self._queue, self._events, metrics, self._poller)
        self._workers = Workers(self._queue, make_reconciler(tools), metrics, settings.workers)
        metrics.registry.register(StateCollector(jobs, self._readings()))

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop, then finish what was begun and give the lease back."""
        settings = self._settings
        web, port = await start_web(
            self._metrics.registry, self._live(), [self._not_ready], settings.http_bind, settings.http_port
        )
        _log.info("listening", port=port, namespaces=list(settings.namespace) or "all")
        try:
            async with Background(stop) as background:
                await self._work(background)
        finally:
            await self._job_watch.stop()
            await web.cleanup()

    def _on_child(self, key: JobKey) -> None:
        self._queue.add_at(key, self._clock() + _GATHER_SECONDS)

    async def _work(self, background: Background) -> None:
        background.run(self._loop_watch.run())
        background.run(self._events.run())
        for _, informer in self._watches:
            background.run(informer.run())
        if await background.during(self._get_ready()):
            await self._lead(background)

    async def _get_ready(self) -> None:
        """Wait for all that must be there before the first job is looked at."""
        await self._look_for_crd()
        await self._watches.synced()
        if self._settings.lease:
            await self._lease.acquire()
        self._is_leading = True
        _log.info("at work")

    async def _lead(self, background: Background) -> None:
        if self._settings.lease:
            background.run(self._lease.hold())
        await self._job_watch.start()
        _on_signals(background.stop)  # kopf took them
        background.run(self._job_watch.run())
        background.run(self._audit.run())
        background.run(self._poller.run())
        background.run(self._workers.run())
        await background.until_stopped()
        _log.info("stopping")
        await self._workers.stop(_FINISH_SECONDS)
        await self._events.flush(_FLUSH_SECONDS)
        await self._give_back()

    async def _look_for_crd(self) -> None:
        """See that there is something to serve; an API server that is away or busy is waited for."""
        for failures in count(1):
            try:
                await self._api.get(job_paths(self._settings.namespace)[0], limit=1)
                return
            except NotFound as error:
                raise DistillJobError(
                    "the cluster knows no DistillJobs: apply deploy/crds/distilljobs.yaml first"
                ) from error
            except (TooManyRequests, Unavailable) as error:
                _log.warning("no answer yet", error=str(error))
                await asyncio.sleep((error.retry_after_seconds or 0.0) + RECONNECT.pause_seconds(failures))

    async def _give_back(self) -> None:
        if not self._settings.lease:
            return
        try:
            async with asyncio.timeout(_RELEASE_SECONDS):
                await self._lease.release()
        except (ApiError, TimeoutError) as error:
            _log.warning("lease not given back: the next operator waits for its end", error=str(error))

    def _live(self) -> list[Check]:
        silences = [silence_check(kind, informer, self._clock) for kind, informer in self._watches]
        return [self._loop_watch.problem, self._audit.problem, *silences]

    def _not_ready(self) -> str | None:
        if not self._watches.is_synced:
            return "children are being listed"
        return None if self._is_leading else "another operator holds the lease"

    def _readings(self) -> Readings:
        return Readings(
            queue_depth=lambda: self._queue.depth,
            progress_age_seconds=self._poller.oldest_age_seconds,
            watch_ages_seconds=lambda: self._watches.ages_seconds(self._clock()),
            is_leading=lambda: self._is_leading,
            running_attempts=self._running_attempts,
        )

    def _running_attempts(self, job: JobRecord) -> set[tuple[str, int]]:
        pods = self._watches.of(PODS, job.key)
        return {(pod.student, pod.attempt) for pod in pods if pod.job_uid == job.uid and pod.phase == "Running"}


def _progress_source(
    settings: Settings, connection: Connection, session: aiohttp.ClientSession, clock: Callable[[], float]
) -> Source:
    is_proxied = settings.aggregator_url == "proxy"
    fetch = ThroughApiServer(connection) if is_proxied else Direct(session, settings.aggregator_url)
    if settings.prometheus_url is not None and settings.progress_source == "Prometheus":
        return Prometheus(session, settings.prometheus_url, fetch, settings.poll_seconds, clock=clock)
    return Scrape(fetch, settings.poll_seconds)


def _lease_name(namespaces: Collection[str]) -> str:
    """Name the Lease: operators exclude each other where they serve the same namespaces."""
    if not namespaces:
        return COMPONENT
    return f"{COMPONENT}-{sha256(' '.join(sorted(namespaces)).encode()).hexdigest()[:8]}"


def _lease_namespace(settings: Settings) -> str:
    if settings.lease_namespace or not settings.lease:
        return settings.lease_namespace or ""
    if settings.own_namespace is None:
        raise DistillJobError(
            "not in a pod, so the Lease has no namespace: give --lease-namespace NAMESPACE, or --no-lease"
        )
    return settings.own_namespace


def _on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
