"""Time that nobody can set back: what ages are taken against."""

import time
from collections.abc import Callable


class SteadyClock:
    """The system's time when it was made, counted on from there by the monotonic clock, whoever sets the system's.

    While a machine sleeps it stands still. Two of them agree only about how much time passes.
    """

    def __init__(
        self, *, steady: Callable[[], float] = time.monotonic, system: Callable[[], float] = time.time
    ) -> None:
        self._steady = steady
        self._offset_seconds = system() - steady()

    def now(self) -> float:
        """Tell the time in seconds since 1970."""
        return self._steady() + self._offset_seconds
