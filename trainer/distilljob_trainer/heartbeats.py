"""Tells the aggregator every few seconds where this student is, and hears when to stop."""

import os
import sys
import threading

import grpc
import structlog

from distilljob_core.errors import DistillJobError
from distilljob_core.exchange import Directive
from distilljob_core.exit_codes import ExitCode
from distilljob_core.phases import StudentPhase
from distilljob_core.rpc.client import AggregatorClient
from distilljob_trainer.leaving import Leaving
from distilljob_trainer.progress import Progress

log = structlog.get_logger()


class Heartbeats:
    """A thread that beats until the run is left, then closes the client, so that no call holds the main thread."""

    def __init__(self, client: AggregatorClient, progress: Progress, leaving: Leaving, interval_seconds: float) -> None:
        self._client = client
        self._progress = progress
        self._leaving = leaving
        self._interval_seconds = interval_seconds
        self._thread = threading.Thread(target=self._run, name="distilljob-heartbeats", daemon=True)

    def start(self) -> None:
        """Begin at once."""
        self._thread.start()

    def join(self) -> None:
        """Wait for the end of the thread; ask it to leave first."""
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._beat()
            if self._leaving.wait(self._interval_seconds):
                self._client.close()
                return

    def _beat(self) -> None:
        try:
            directive = self._client.heartbeat(self._progress.report())
        except DistillJobError as error:
            _stop_at_once(error)
        except grpc.RpcError as error:
            log.warning("heartbeat failed", error=str(error))
        else:
            # Only while waiting are all rows durable; a later word is about a round that has closed since.
            if directive is Directive.PARK and self._progress.phase is StudentPhase.WAITING:
                self._leaving.request(ExitCode.PARKED)


def _stop_at_once(error: DistillJobError) -> None:
    """End this process in the middle of whatever it does: a newer attempt may be writing where it would write."""
    print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    os._exit(error.exit_code)
