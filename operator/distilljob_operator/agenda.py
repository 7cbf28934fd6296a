"""Which key is due, waiting or being worked on: the rules of the work queue, without a clock.

A key is in work at most once. It has at most one time at which it is due, the earliest one asked for: whoever works on
it sees the whole truth and names the next. A time that comes while the key is in work is kept until the work is done.
"""

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Agenda(Generic[K]):
    """Keys and their times; all times on the clock of the caller."""

    def __init__(self) -> None:
        self._due_seconds: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        """Times that were asked for, earliest first; an entry counts only while it agrees with _due_seconds."""
        self._count = 0
        self._released: set[K] = set()
        self._working: set[K] = set()
        self._late: set[K] = set()
        """Became due while in work."""
        self._not_before_seconds: dict[K, float] = {}

    @property
    def next_seconds(self) -> float | None:
        """When to call `release` again."""
        while self._heap and self._due_seconds.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def add(self, key: K, at_seconds: float) -> None:
        """Ask for work on a key at that time, or earlier if so asked before; never before its rest is over."""
        at_seconds = max(at_seconds, self._not_before_seconds.get(key, at_seconds))
        if at_seconds >= self._due_seconds.get(key, float("inf")):
            return
        self._due_seconds[key] = at_seconds
        self._count += 1
        heapq.heappush(self._heap, (at_seconds, self._count, key))

    def rest(self, key: K, until_seconds: float) -> None:
        """Let nobody work on a key before that time, whatever is added; it is due then."""
        self._not_before_seconds[key] = until_seconds
        self._due_seconds.pop(key, None)
        self._late.discard(key)
        self.add(key, until_seconds)

    def release(self, now_seconds: float) -> list[K]:
        """Take out the keys that are due and not in work, in the order of their times."""
        ready = []
        while (at_seconds := self.next_seconds) is not None and at_seconds <= now_seconds:
            key = heapq.heappop(self._heap)[2]
            del self._due_seconds[key]
            self._not_before_seconds.pop(key, None)
            if key in self._working:
                self._late.add(key)
            elif key not in self._released:
                self._released.add(key)
                ready.append(key)
        return ready

    def begin(self, key: K) -> None:
        """Note that a released key is in work: what is added from now on needs work of its own."""
        self._released.remove(key)
        self._working.add(key)

    def end(self, key: K, now_seconds: float) -> None:
        """Note that the work is done; what became due meanwhile is due now."""
        self._working.remove(key)
        if key in self._late:
            self._late.remove(key)
            self.add(key, now_seconds)
