"""Turns for work that can wait: a burst at once, then one after the other, for all jobs together."""

from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Pace(Generic[Key]):
    """Hands out turns (the generic cell rate algorithm, ITU-T I.371); who has asked keeps its turn until it is over.

    Args:
        per_second: turns in the long run.
        burst: turns that may come at the same time after a quiet spell.
    """

    def __init__(self, per_second: float, burst: int) -> None:
        self._interval_seconds = 1 / per_second
        self._tolerance_seconds = (burst - 1) / per_second
        self._expected_seconds = float("-inf")
        """When the next turn would be if they came evenly."""
        self._turns: dict[Key, float] = {}

    def turn(self, key: Key, now_seconds: float) -> float:
        """Tell when it is this one's turn; the same each time it is asked, until `over`."""
        if key not in self._turns:
            expected_seconds = max(self._expected_seconds, now_seconds)
            self._turns[key] = max(now_seconds, expected_seconds - self._tolerance_seconds)
            self._expected_seconds = expected_seconds + self._interval_seconds
        return self._turns[key]

    def over(self, key: Key) -> None:
        """End a turn that was taken, or that nobody needs any more."""
        self._turns.pop(key, None)
