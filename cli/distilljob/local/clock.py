"""The runner's clock: it notices when the runner was not watching."""

import time
from collections.abc import Callable

from distilljob_core.clock import SteadyClock


class Clock(SteadyClock):
    """Whoever was away (stopped, or on a machine that slept), or whose system's clock was set, cannot tell what the
    ages of others mean: both are measured against `patience_seconds`, and watching begins anew.
    """

    def __init__(
        self,
        patience_seconds: float,
        *,
        steady: Callable[[], float] = time.monotonic,
        system: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(steady=steady, system=system)
        self._patience_seconds = patience_seconds
        self._system = system
        self._system_offset_seconds = self._offset_seconds
        self.began_seconds = self.watching_since_seconds = self._last_seconds = self.now()

    def tick(self) -> float:
        """Tell the time of one more look around."""
        now_seconds, system_offset_seconds = self.now(), self._system() - self._steady()
        away_seconds = now_seconds - self._last_seconds
        set_seconds = abs(system_offset_seconds - self._system_offset_seconds)
        if max(away_seconds, set_seconds) > self._patience_seconds:
            self.watching_since_seconds = now_seconds
        self._last_seconds, self._system_offset_seconds = now_seconds, system_offset_seconds
        return now_seconds
