"""The exchange at work: asks the rules, makes their events durable, and only then lets anybody know."""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from concurrent.futures import Executor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, TypeVar

import structlog

from distilljob_aggregator.ledger import Ledger, wait_for
from distilljob_aggregator.live import Live
from distilljob_aggregator.metrics import AggregatorMetrics
from distilljob_aggregator.rounds import admission
from distilljob_aggregator.rounds.events import Fetched, Finished, Opened, RowsDurable
from distilljob_aggregator.rounds.state import State
from distilljob_aggregator.state_directory import StateDirectory
from distilljob_aggregator.table import round_table
from distilljob_aggregator.uploads import UploadStream
from distilljob_core.clock import SteadyClock
from distilljob_core.errors import (
    Busy,
    DistillJobError,
    Fenced,
    NotOpen,
    ResultsFull,
    RowsOutOfRange,
    StateLost,
    StorageFull,
    TeacherNotReady,
)
from distilljob_core.exchange import (
    CloseRecord,
    Directive,
    Identity,
    Joined,
    NeedRows,
    NotYet,
    Offer,
    Report,
    RoundKey,
    SplitShape,
)
from distilljob_core.results import StudentSummary
from distilljob_core.round_table import RoundTable
from distilljob_core.softlabels.frames import Split

HEARTBEAT_SECONDS: Final = 2.0
WAIT_SECONDS: Final = 20.0
MAXIMUM_STREAMS: Final = 8
TOKEN_STRIDE: Final = 2**40
"""8 million joins fit into the 63 bits that every language's integers have."""

T = TypeVar("T")
Volume = Literal["Results", "State"]
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Traffic:
    """Soft-label bytes exchanged that the journal does not know yet."""

    up_bytes: int = 0
    down_bytes: int = 0


class Coordinator:
    """Answers students. Whatever blocks runs in a small pool; the event loop never waits for a disk."""

    def __init__(
        self, ledger: Ledger, directory: StateDirectory, pool: Executor, metrics: AggregatorMetrics, clock: SteadyClock
    ) -> None:
        self.ledger = ledger
        self.live = Live(clock.now)
        self.traffic = Traffic()
        self.is_loaded = False
        """Uploads of before a restart are read; until then no rows are taken."""
        self._full_volumes: set[Volume] = set()
        self._directory = directory
        self._pool = pool
        self._metrics = metrics
        self._streams: dict[str, UploadStream] = {}
        self._clock = clock
        self._started_seconds = clock.now()

    @property
    def state(self) -> State:
        """The state now."""
        return self.ledger.state

    def table(self) -> RoundTable:
        """Lay out the round table as of now."""
        return round_table(
            self.state,
            self.live,
            now_seconds=self._clock.now(),
            process_started_seconds=self._started_seconds,
            storage_full=min(self._full_volumes, default=None),
        )

    def note(self, error: DistillJobError) -> None:
        """Remember a volume that had no room, until `wrote` tells of a good write to it."""
        if isinstance(error, ResultsFull):
            self._full_volumes.add("Results")
        elif isinstance(error, StorageFull):
            self._full_volumes.add("State")

    def wrote(self, volume: Volume) -> None:
        """Note that a volume took again what is large: rows, a teacher, a file; or the last word of all."""
        self._full_volumes.discard(volume)

    async def join(self, who: Identity, splits: Mapping[Split, SplitShape], closed_seen: int) -> Joined:
        """Admit an attempt. Whatever an older one of this student was sending ends."""
        stride = 1 + secrets.randbelow(TOKEN_STRIDE)
        admitted = await self.ledger.decide(lambda state: admission.join(state, who, splits, closed_seen, stride))
        if admitted is not None:
            _log.info("joined", student=who.student, attempt=who.attempt, token=admitted.token)
            self.live.join(who.student)
            self.cut(who.student, Fenced(f"attempt {who.attempt} of {who.student} has joined"))
        plan = self.state.plan
        return Joined(
            token=self.state.students[who.student].token,
            open=self.state.active,
            heartbeat_interval_seconds=HEARTBEAT_SECONDS,
            students=plan.students,
            cycles=plan.cycles,
            codec=plan.codec,
            temperature=plan.temperature,
        )

    async def heartbeat(self, student: str, report: Report) -> Directive:
        """Note where a student is, and tell it what to do."""
        self.live.hear(student, report)
        unpark = partial(admission.unpark, name=student, phase=report.phase)
        if unpark(self.state) is not None:  # else no heartbeat waits for a disk
            await self.ledger.decide(unpark)
        return admission.directive(self.state, student)

    async def open(self, student: str, token: int, offer: Offer) -> int | CloseRecord:
        """Answer an announcement of soft labels."""
        if not self.is_loaded:
            raise TeacherNotReady("the aggregator is reading its spool after a restart")
        await self._end_stream(student)
        while True:
            answer = await self.ledger.decide(
                lambda state: admission.open_round(state, admission.holder(state, token), offer)
            )
            if isinstance(answer, CloseRecord):
                return answer
            await self.in_pool(self._directory.align, lambda: self.state)
            if isinstance(answer, Opened):
                _log.info("opened", student=student, round=str(offer.round), upload=answer.upload, weight=offer.weight)
                return 0
            with suppress(NotOpen):  # the round has ended since: the answer is another one
                return await self._sync(student, answer.number)

    @asynccontextmanager
    async def upload(self, student: str, token: int) -> AsyncIterator[UploadStream]:
        """Give a student one of the few places for streams; its older stream ends.

        Raises:
            Busy: all places are taken.
            NotOpen: no rows of this student are wanted now.
        """
        await self._end_stream(student)
        if len(self._streams) >= MAXIMUM_STREAMS:
            raise Busy(f"{MAXIMUM_STREAMS} uploads are running; come back after a moment")
        number = admission.accepts_rows(self.state, admission.holder(self.state, token)).number
        stream = UploadStream(
            partial(self._take, student, token, number), partial(self._commit, student, token, number)
        )
        self._streams[student] = stream
        started_seconds = time.monotonic()
        try:
            yield stream
        finally:
            stream.ended.set()
            self._metrics.upload_seconds.observe(time.monotonic() - started_seconds)
            if self._streams.get(student) is stream:
                del self._streams[student]

    async def wait(self, student: str, token: int, key: RoundKey) -> CloseRecord | NeedRows | NotYet:
        """Tell how a round stands as soon as that is worth telling, after 20 s at the latest."""
        started_seconds = time.monotonic()
        while True:
            changed = self.ledger.changed
            admission.holder(self.state, token)
            answer = admission.wait(self.state, student, key)
            if isinstance(answer, NeedRows) and not self.is_loaded:
                answer = NotYet(())
            patience = HEARTBEAT_SECONDS if self.state.students[student].is_parked else WAIT_SECONDS
            left_seconds = started_seconds + patience - time.monotonic()
            if not isinstance(answer, NotYet) or left_seconds <= 0:
                return answer
            await wait_for(changed, left_seconds)

    async def teacher(self, student: str, token: int, key: RoundKey, first_row: int) -> AsyncGenerator[bytes, None]:
        """Give a stored teacher's frames from a row on."""
        admission.fetch(self.state, student, key)
        num_rows = self.state.num_rows(key)
        if first_row >= num_rows:
            raise RowsOutOfRange(f"row {first_row} of {key}; its teacher has rows 0..{num_rows - 1}")
        try:
            teacher = await self.in_pool(self._directory.open_teacher, self.state, key)
        except FileNotFoundError as error:
            admission.fetch(self.state, student, key)  # says so if it was forgotten just now
            raise StateLost(f"the teacher of {key} is gone from the state volume; start the job anew") from error
        try:
            row = first_row
            while row < num_rows:
                admission.holder(self.state, token)
                frame, row = await self.in_pool(teacher.frame, row)
                if row == num_rows:
                    await self.ledger.decide(partial(_note_fetched, student=student, key=key))
                self.traffic.down_bytes += len(frame)
                self._metrics.exchange_bytes.labels("down").inc(len(frame))
                yield frame
                self.live.progress(student)
        finally:
            teacher.close()

    async def finish(self, student: str, token: int, summary: StudentSummary) -> None:
        """Take a student's terminal record; a second one changes nothing."""

        def question(state: State) -> Finished | None:
            admission.holder(state, token)
            if state.active is not None:
                raise NotOpen(f"{state.active} is still open; a student finishes after the evaluation round")
            known = state.students[student].summary
            return Finished(student, summary, self._clock.now()) if known is None else None

        if await self.ledger.decide(question) is not None:
            self.wrote("State")
            _log.info("finished", student=student, attempt=summary.attempt)

    def cut(self, student: str, error: DistillJobError) -> None:
        """End a student's upload stream."""
        if student in self._streams:
            self._streams[student].cut(error)

    async def in_pool(self, work: Callable[..., T], *args: Any) -> T:
        """Do something that blocks."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *args)

    async def _take(self, student: str, token: int, upload: int, frame: bytes) -> int:
        admission.holder(self.state, token)
        num_bytes = await self.in_pool(self._directory.take, student, upload, frame)
        self.traffic.up_bytes += num_bytes
        self._metrics.exchange_bytes.labels("up").inc(num_bytes)
        return num_bytes

    async def _commit(self, student: str, token: int, upload: int) -> int:
        rows = await self._sync(student, upload)
        self.wrote("State")
        admission.holder(self.state, token)
        return rows

    async def _sync(self, student: str, upload: int) -> int:
        """Make an upload's rows durable, and known as such; gives their number."""
        rows = await self.in_pool(self._directory.sync, student, upload)
        self.ledger.observe(RowsDurable(student, upload, rows))
        self.live.progress(student)
        return rows

    async def _end_stream(self, student: str) -> None:
        """End a student's older stream, and wait until it adds no more rows."""
        while (stream := self._streams.get(student)) is not None:
            stream.cut(Busy("another stream of this student has begun"))
            await stream.ended.wait()


def _note_fetched(state: State, *, student: str, key: RoundKey) -> Fetched | None:
    fetched = state.students[student].fetched
    return Fetched(student, key) if fetched is None or key > fetched else None
