"""Kubernetes Events: what was decided about a job, once for each decision, for `kubectl describe`.

Core/v1 Events: `kubectl describe`, `kubectl events` and events.k8s.io/v1 all show them. Told after the decision
is durable, posted in the background, and never worth waiting for: what the API server cannot take fast enough is
dropped and counted.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from distilljob_core.lifecycle.model import Event
from distilljob_core.spec.job import API_VERSION, KIND
from distilljob_operator.api import Api
from distilljob_operator.errors import AlreadyExists, ApiError, Forbidden, Invalid, NotFound
from distilljob_operator.jobs import JobRecord

COMPONENT: Final = "distilljob-operator"
_MAX_WAITING: Final = 1_000
_MAX_MESSAGE_CHARACTERS: Final = 1_024
_RETRY_SECONDS: Final = (1.0, 5.0)
_USELESS_TO_RETRY: Final = (Forbidden, Invalid, NotFound)

_log = structlog.get_logger(__name__)


class Events:
    """Tells what was decided."""

    def __init__(self, api: Api, holder: str, on_drop: Callable[[str], None]) -> None:
        self._api = api
        self._holder = holder
        self._on_drop = on_drop
        self._waiting: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_MAX_WAITING)

    def tell(self, job: JobRecord, events: Sequence[Event]) -> None:
        """Post the events of one decision, those of one reason as one; returns at once."""
        for body in event_objects(job, events, datetime.now(UTC), self._holder):
            try:
                self._waiting.put_nowait(body)
            except asyncio.QueueFull:
                self._on_drop("TooMany")

    async def run(self) -> None:
        """Post what is told, one after the other, so that events never crowd out what they are about."""
        while True:
            body = await self._waiting.get()
            try:
                await self._post(body)
            finally:
                self._waiting.task_done()

    async def flush(self, seconds: float) -> None:
        """Wait for what was told, but no longer than that."""
        try:
            async with asyncio.timeout(seconds):
                await self._waiting.join()
        except TimeoutError:
            _log.warning("events are lost at the end", events=self._waiting.qsize())

    async def _post(self, body: dict[str, Any]) -> None:
        path = f"/api/v1/namespaces/{body['metadata']['namespace']}/events"
        for pause_seconds in (*_RETRY_SECONDS, None):
            try:
                await self._api.create(path, body)
            except AlreadyExists:
                return
            except ApiError as error:
                if pause_seconds is None or isinstance(error, _USELESS_TO_RETRY):
                    self._on_drop(error.reason)
                    return
                await asyncio.sleep(error.retry_after_seconds or pause_seconds)
            else:
                return


def event_objects(job: JobRecord, events: Sequence[Event], now: datetime, holder: str) -> Iterator[dict[str, Any]]:
    """Turn the events of one decision into Event objects: one for each reason, its students joined."""
    groups: dict[tuple[str, str], list[Event]] = {}
    for event in events:
        groups.setdefault((event.type, event.reason), []).append(event)
    for (kind, reason), group in groups.items():
        yield _event_object(job, kind, reason, group, now, holder)


def _event_object(
    job: JobRecord, kind: str, reason: str, group: Sequence[Event], now: datetime, holder: str
) -> dict[str, Any]:
    namespace, name = job.key
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"namespace": namespace, "name": _event_name(job, reason, group)},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "namespace": namespace,
            "name": name,
            "uid": job.uid,
            "resourceVersion": str(job.resource_version),
        },
        "type": kind,
        "reason": reason,
        "message": _shortened(_message(group)),
        "count": 1,
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": holder[:128],
    }


def _event_name(job: JobRecord, reason: str, group: Sequence[Event]) -> str:
    """Name the decision, so that one that is taken again, after a restart, does not post a second event.

    Attempts tell decisions apart, whatever figures the message of each has; what concerns the job as a whole is told
    apart by its generation and by its message.
    """
    about = [
        f"{event.student}/{event.attempt}" if event.attempt is not None else f"{event.student}:{event.message}"
        for event in group
    ]
    generation = job.body["metadata"].get("generation", 0)
    words = "\n".join([job.uid, reason, str(generation), *sorted(about)])
    digest = hashlib.sha256(words.encode()).hexdigest()[:16]
    return f"{job.key[1]}.{digest}"


def _message(group: Sequence[Event]) -> str:
    """Say each message once, behind the students that it is about."""
    students: dict[str, list[str]] = {}
    for event in group:
        students.setdefault(event.message, []).append(event.student or "")
    return "; ".join(f"{', '.join(names)}: {message}" if all(names) else message for message, names in students.items())


def _shortened(text: str) -> str:
    return text if len(text) <= _MAX_MESSAGE_CHARACTERS else text[: _MAX_MESSAGE_CHARACTERS - 1] + "…"
