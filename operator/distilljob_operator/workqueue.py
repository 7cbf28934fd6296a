"""The queue of keys to reconcile: each at most once at a time, later, or again after a failure."""

import asyncio
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

from distilljob_operator.agenda import Agenda
from distilljob_operator.backoff import Backoff

K = TypeVar("K", bound=Hashable)

RETRY: Final = Backoff(first_seconds=0.2, most_seconds=60.0)


class WorkQueue(Generic[K]):
    """Keys for a set of workers on one event loop.

        key = await queue.get()
        try:
            ...
            queue.forget(key)
        except ApiError as error:
            queue.retry(key, error.retry_after_seconds)
        finally:
            queue.done(key)

    Args:
        clock: tells the time in seconds; must never go back.
        backoff: pauses of a key that fails again and again.
    """

    def __init__(self, clock: Callable[[], float], backoff: Backoff = RETRY) -> None:
        self._clock = clock
        self._backoff = backoff
        self._agenda: Agenda[K] = Agenda()
        self._ready: asyncio.Queue[K] = asyncio.Queue()
        self._failures: dict[K, int] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_seconds: float | None = None

    @property
    def depth(self) -> int:
        """How many keys are due and wait for a worker."""
        return self._ready.qsize()

    def add(self, key: K) -> None:
        """Ask for work on a key now. Work that has begun does not count."""
        self.add_at(key, self._clock())

    def add_at(self, key: K, at_seconds: float) -> None:
        """Ask for work on a key at that time of the clock; of several times the earliest counts."""
        self._agenda.add(key, at_seconds)
        self._release()

    async def get(self) -> K:
        """Wait for a key, and take it into work."""
        key = await self._ready.get()
        self._agenda.begin(key)
        return key

    def done(self, key: K) -> None:
        """End the work on a key that `get` gave."""
        self._agenda.end(key, self._clock())
        self._release()

    def retry(self, key: K, retry_after_seconds: float | None = None) -> None:
        """Ask for work on a key after a pause that doubles with each failure in a row.

        Args:
            key: in work; call `done` as well.
            retry_after_seconds: the server's wish. Until then no event brings the key back either.
        """
        self._failures[key] = self._failures.get(key, 0) + 1
        at_seconds = self._clock() + self._backoff.pause_seconds(self._failures[key])
        if retry_after_seconds is None:
            self._agenda.add(key, at_seconds)
        else:
            self._agenda.rest(key, at_seconds + retry_after_seconds)
        self._release()

    def forget(self, key: K) -> None:
        """Forget a key's failures: its work succeeded."""
        self._failures.pop(key, None)

    def _release(self) -> None:
        now_seconds = self._clock()
        for key in self._agenda.release(now_seconds):
            self._ready.put_nowait(key)
        next_seconds = self._agenda.next_seconds
        if next_seconds == self._timer_seconds:
            return
        if self._timer:
            self._timer.cancel()
        self._timer_seconds = next_seconds
        if next_seconds is not None:
            pause_seconds = max(0.0, next_seconds - now_seconds)
            self._timer = asyncio.get_running_loop().call_later(pause_seconds, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = self._timer_seconds = None
        self._release()
