"""The state, and the only way to change it: events, each durable before anybody acts on it."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any, TypeVar, get_args

from distilljob_aggregator.journal import Journal
from distilljob_aggregator.rounds.events import Event, Journaled, Started, TimePassed
from distilljob_aggregator.rounds.plan import Plan
from distilljob_aggregator.rounds.reduce import reduce
from distilljob_aggregator.rounds.state import State, initial_state
from distilljob_core.errors import Mismatch

T = TypeVar("T")


def recover(plan: Plan, journal: Journal, now_seconds: float) -> State:
    """Give the state that the journal tells of; a new journal is begun.

    Raises:
        Mismatch: the journal is another job's.
    """
    state = initial_state(plan)
    for event in journal.replay():
        if isinstance(event, Started) and event.uid != plan.uid:
            raise Mismatch(f"the state directory belongs to job {event.uid}, not {plan.uid}; give each job its own")
        state = reduce(state, event)
    if not state.started_seconds:
        begin = Started(plan.uid, now_seconds)
        journal.append(begin)
        state = reduce(state, begin)
    return state


class Ledger:
    """Holds the state. One decision is made at a time; observed events may come at any moment."""

    def __init__(self, state: State, journal: Journal, pool: Executor) -> None:
        self.state = state
        self.changed = asyncio.Event()
        """Set at the next change; then another one stands here."""
        self._journal = journal
        self._pool = pool
        self._deciding = asyncio.Lock()
        self._seen_seconds = time.monotonic()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def decide(self, question: Callable[[State], T]) -> T:
        """Answer a question from the state; an answer that is an event is durable and has happened on return.

        It also happens when the caller no longer waits.

        Raises:
            StorageFull: the event could not be journaled, so nothing happened.
        """
        task = asyncio.ensure_future(self._decide(question))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    def observe(self, event: Event) -> None:
        """Take in an event that needs no journal."""
        self.state = reduce(self.state, event)
        if not isinstance(event, TimePassed):
            self.changed.set()
            self.changed = asyncio.Event()

    def pass_time(self) -> None:
        """Let the state know how much time has passed since the last call."""
        now_seconds = time.monotonic()
        self.observe(TimePassed(now_seconds - self._seen_seconds))
        self._seen_seconds = now_seconds

    async def settle(self) -> None:
        """Wait for decisions whose callers have left."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _decide(self, question: Callable[[State], T]) -> T:
        async with self._deciding:
            self.pass_time()
            answer = question(self.state)
            if isinstance(answer, get_args(Journaled)):
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._pool, self._journal.append, answer)
                self.observe(answer)
            return answer


async def wait_for(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, but not longer than this."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
