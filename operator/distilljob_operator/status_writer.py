"""The one write of a wake-up: the status of a DistillJob, which is also all that is remembered of it."""

from collections.abc import Mapping
from typing import Any, Final

from distilljob_core.lifecycle.model import Decision
from distilljob_core.round_table import RoundTable
from distilljob_core.spec.job import API_VERSION, KIND
from distilljob_operator.app import Tools
from distilljob_operator.errors import Conflict, NotFound, Unavailable
from distilljob_operator.held import Held
from distilljob_operator.job_audit import job_path
from distilljob_operator.jobs import JobRecord
from distilljob_operator.pace import Pace
from distilljob_operator.shown import is_urgent, shown
from distilljob_operator.store import JobKey

STATUS_SECONDS: Final = 60.0
"""Progress alone is written at most this often."""
NEWS_SECONDS: Final = 1.0
"""News that nothing is done about are written at most this often: a start brings many, and one write tells them all."""
LEISURE_PER_SECOND: Final = 10.0
"""So many news, and so much progress, of all jobs together: the API server takes 15 ms of CPU for a status."""
LEISURE_BURST: Final = 40


class StatusWriter:
    """Writes statuses: at once where something follows from them, at leisure where they only tell."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._news: Pace[JobKey] = Pace(LEISURE_PER_SECOND, LEISURE_BURST)
        self._progress: Pace[JobKey] = Pace(LEISURE_PER_SECOND, LEISURE_BURST)

    async def write(
        self, record: JobRecord, held: Held, decision: Decision | None = None, table: RoundTable | None = None
    ) -> bool:
        """Write the status if that is due; false if somebody else was faster, and everything must be read again.

        Args:
            record: which job.
            held: what is held of it.
            decision: what is to be remembered; at once if anything follows from it. None = there is nothing new.
            table: the aggregator's, for what is shown.

        Raises:
            ApiError: the API server refused or failed; it may still have written it.
        """
        assert held.wanted is not None
        state = decision.state if decision else held.state
        now_seconds = self._tools.clock()
        status = shown(
            held.wanted.job,
            state,
            table,
            now_seconds,
            generation=held.wanted.generation,
            valid=held.valid(now_seconds),
            before=held.written,
        )
        is_due = decision is not None and bool(decision.actions or decision.events)
        due_seconds = now_seconds if is_due else self._due_seconds(record.key, held, status, now_seconds)
        if now_seconds < due_seconds:
            self._tools.queue.add_at(record.key, due_seconds)
        else:
            self.let_go(record.key)
            if status != held.written:
                if not await self._put(record, held, status, decision):
                    return False
                held.written, held.written_seconds = status, now_seconds
        held.state = state
        return True

    async def read_again(self, record: JobRecord) -> Mapping[str, Any]:
        """Read a job that may have changed; nothing if it is gone.

        Raises:
            ApiError: there is no answer.
        """
        try:
            found = await self._tools.api.get(job_path(record.key))
        except NotFound:
            self._forget(record)
            return {}
        self._tools.jobs.update(found)
        return found

    def let_go(self, key: JobKey) -> None:
        """Give back the turns of a job: it had them, or needs them no more."""
        self._news.over(key)
        self._progress.over(key)

    def _due_seconds(self, key: JobKey, held: Held, status: Mapping[str, Any], now_seconds: float) -> float:
        """Tell when a status that nothing follows from is to be written: after a pause, when it is this job's turn."""
        if status == held.written:
            return now_seconds
        is_news = is_urgent(held.written, status)
        due_seconds = held.written_seconds + (NEWS_SECONDS if is_news else STATUS_SECONDS)
        pace = self._news if is_news else self._progress
        return due_seconds if now_seconds < due_seconds else pace.turn(key, now_seconds)

    async def _put(self, record: JobRecord, held: Held, status: dict[str, Any], decision: Decision | None) -> bool:
        namespace, name = record.key
        metadata = {
            "namespace": namespace,
            "name": name,
            "uid": record.uid,
            "resourceVersion": str(record.resource_version),
        }
        body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "status": status}
        try:
            self._tools.jobs.update(await self._tools.api.put(f"{job_path(record.key)}/status", body))
        except NotFound:
            self._forget(record)
            return False
        except (Conflict, Unavailable) as error:
            held.tried = (status["memory"], decision)
            if isinstance(error, Unavailable):
                raise
            self._tools.queue.add(record.key)
            return False
        return True

    def _forget(self, record: JobRecord) -> None:
        """Have the next wake-up find it gone."""
        self._tools.jobs.remove(record.key, record.uid)
        self._tools.queue.add(record.key)
