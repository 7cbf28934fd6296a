"""The aggregator as a process: puts the parts together, says where it listens, and ends well."""

import asyncio
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from prometheus_client import CollectorRegistry

from distilljob_aggregator.control import follow_wishes, read_wishes
from distilljob_aggregator.coordinator import Coordinator
from distilljob_aggregator.journal import Journal
from distilljob_aggregator.ledger import Ledger, recover
from distilljob_aggregator.metrics import AggregatorMetrics, RoundTableCollector
from distilljob_aggregator.results_volume import ResultsVolume
from distilljob_aggregator.rounds.due import Wishes
from distilljob_aggregator.rounds.plan import Plan
from distilljob_aggregator.server import start_server
from distilljob_aggregator.service import Service
from distilljob_aggregator.state_directory import StateDirectory
from distilljob_aggregator.web import start_web
from distilljob_aggregator.worker import Worker
from distilljob_core.clock import SteadyClock
from distilljob_core.errors import StorageFull
from distilljob_core.exit_codes import ExitCode
from distilljob_core.files import DirectoryLock, sync_directory, write_atomically

GRPC_ADDRESS_FILE: Final = "grpc.address"
HTTP_ADDRESS_FILE: Final = "http.address"
_POOL_THREADS: Final = 4
_GRACE_SECONDS: Final = 2.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line says."""

    state: Path
    results: Path
    control: Path
    bind: str
    grpc_port: int
    http_port: int
    tls_dir: Path | None
    exit_with_parent: bool


async def serve(plan: Plan, settings: Settings) -> int:
    """Serve until told to stop; gives the exit code.

    Raises:
        DistillJobError: the state directory is in use, lost, or another job's.
    """
    for folder in (settings.state, settings.results):
        folder.mkdir(parents=True, exist_ok=True)
        sync_directory(folder.parent)
    clock = SteadyClock()
    with ExitStack() as stack:
        stack.enter_context(DirectoryLock(settings.state))
        journal = Journal(settings.state / "journal")
        stack.callback(journal.close)
        state = recover(plan, journal, clock.now())
        directory = StateDirectory(settings.state, plan.codec)
        stack.callback(directory.close)
        for name in (GRPC_ADDRESS_FILE, HTTP_ADDRESS_FILE):
            (settings.state / name).unlink(missing_ok=True)
        rows_pool = stack.enter_context(ThreadPoolExecutor(_POOL_THREADS, "rows"))
        journal_pool = stack.enter_context(ThreadPoolExecutor(1, "journal"))
        ledger = Ledger(state, journal, journal_pool)
        await _run(settings, ledger, directory, rows_pool, clock)
        return ExitCode.DONE if ledger.state.is_complete else ExitCode.TERMINATED


async def _run(
    settings: Settings, ledger: Ledger, directory: StateDirectory, pool: ThreadPoolExecutor, clock: SteadyClock
) -> None:
    registry = CollectorRegistry()
    metrics = AggregatorMetrics(registry)
    coordinator = Coordinator(ledger, directory, pool, metrics, clock)
    registry.register(RoundTableCollector(coordinator.table, lambda: directory.spool_bytes))
    results = ResultsVolume(settings.results, ledger.state.plan.students)
    worker = Worker(coordinator, directory, results, metrics)
    worker.wish(read_wishes(settings.control) or Wishes())
    service = Service(coordinator, results, metrics, is_secured=settings.tls_dir is not None)
    told = _stop_signals(settings.exit_with_parent)
    async with AsyncExitStack() as stack:
        server, grpc_port = await start_server(service, settings.bind, settings.grpc_port, settings.tls_dir)
        stack.push_async_callback(server.stop, _GRACE_SECONDS)
        web, http_port = await start_web(coordinator, registry, settings.bind, settings.http_port)
        stack.push_async_callback(web.cleanup)
        _publish(settings, grpc_port, http_port)
        working = asyncio.ensure_future(worker.run())
        following = asyncio.ensure_future(follow_wishes(settings.control, worker.wish))
        stopping = asyncio.ensure_future(told.wait())
        done, pending = await asyncio.wait({working, following, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        for task in done:
            task.result()
        _log.info("stopping")
    with suppress(StorageFull):
        await worker.count()
    await ledger.settle()


def _publish(settings: Settings, grpc_port: int, http_port: int) -> None:
    """Say where this process listens, in files that appear whole."""
    for name, port in ((GRPC_ADDRESS_FILE, grpc_port), (HTTP_ADDRESS_FILE, http_port)):
        write_atomically(settings.state / name, f"{settings.bind}:{port}\n".encode())
    _log.info("listening", bind=settings.bind, grpc_port=grpc_port, http_port=http_port)


def _stop_signals(exit_with_parent: bool) -> asyncio.Event:
    """Give the event that SIGTERM, SIGINT or the parent's end set."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    if exit_with_parent:
        loop.add_reader(sys.stdin.fileno(), _read_stdin, told)
    return told


def _read_stdin(told: asyncio.Event) -> None:
    """The parent holds the other end and writes nothing: the end of the stream is the end of the parent."""
    with suppress(BlockingIOError):
        if not os.read(sys.stdin.fileno(), 4096):
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            told.set()
