"""How much is measured, and how long."""

from dataclasses import dataclass
from typing import Final

from bench_operator.pages import Lie

CONTESTANTS: Final = ("floor", "distilljob", "jobset-floor", "jobset")
QUICK_CONTESTANTS: Final = ("floor", "distilljob", "jobset")


@dataclass(frozen=True, slots=True)
class Options:
    """The whole measurement; QUICK makes everything small."""

    jobs: int
    runs: int
    contestants: tuple[str, ...] = CONTESTANTS
    trials: bool = True
    """Hangs, blindness, kills and an upgrade, once, after the last run of the operator."""
    singles: int = 5
    single_crashes: int = 10
    single_gap_seconds: float = 1.5
    burst: int = 50
    spread_crashes: int = 100
    spread_seconds: float = 60.0
    window_seconds: float = 60.0
    """How long requests are counted at rest, and while moving."""
    rest_seconds: float = 80.0
    """How long after the last step that begins: it is read at a poll and told within a minute, and then all is."""
    poll_seconds: float = 10.0
    hang_seconds: int = 20
    hangs: int = 5
    lies: tuple[Lie, ...] = tuple(Lie)
    lie_seconds: float = 36.0
    """For each of five lies: three minutes in all."""
    kills: int = 3
    kill_gap_seconds: float = 20.0
    settle_seconds: float = 3.0
    limit_seconds: float = 900.0

    @property
    def num_namespaces(self) -> int:
        """As many as jobs, up to a hundred."""
        return min(self.jobs, 100)


def quick(jobs: int, contestants: tuple[str, ...]) -> Options:
    """Measure everything once and briefly: it shows that the benchmark works, its figures are no results."""
    return Options(
        jobs=jobs,
        runs=1,
        contestants=contestants,
        singles=1,
        single_crashes=2,
        single_gap_seconds=0.5,
        burst=5,
        spread_crashes=5,
        spread_seconds=1.0,
        window_seconds=1.0,
        rest_seconds=2.0,
        poll_seconds=1.0,
        hang_seconds=2,
        hangs=1,
        lies=(Lie.GONE, Lie.DEAD),
        lie_seconds=2.5,
        kills=1,
        kill_gap_seconds=1.0,
        settle_seconds=0.5,
        limit_seconds=60.0,
    )
