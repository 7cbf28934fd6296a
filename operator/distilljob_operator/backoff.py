"""Pauses that grow, and that differ between those who wait."""

import random
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses after failures in a row: first_seconds x 2^(failures - 1), at most most_seconds, less up to one half."""

    first_seconds: float
    most_seconds: float
    rng: random.Random = field(default_factory=random.Random)

    def pause_seconds(self, failures: int) -> float:
        """Draw the pause after so many failures; none after none."""
        if failures == 0:
            return 0.0
        doublings = min(failures - 1, 30)
        return min(self.most_seconds, self.first_seconds * 2.0**doublings) * self.rng.uniform(0.5, 1)
