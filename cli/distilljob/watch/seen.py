"""What can be shown of a job at one moment, wherever it runs: the ground that `status` and `top` stand on."""

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from distilljob.local.picture import Picture
from distilljob.run_directory.events import RunEvent
from distilljob_core.lifecycle.model import JobState
from distilljob_core.round_table import RoundTable


class Seen(Protocol):
    """One look at a job: a local run or one in a cluster."""

    @property
    def picture(self) -> Picture:
        """Every student's row."""

    @property
    def state(self) -> JobState:
        """Restarts, ends, conditions and outcome."""

    @property
    def table(self) -> RoundTable | None:
        """The newest round table that could be read."""

    @property
    def aggregator(self) -> str:
        """How the aggregator is: `ready`, or what is in the way."""

    @property
    def stop_after_cycle(self) -> int | None:
        """Where an early end was asked for."""

    @property
    def events(self) -> Sequence[RunEvent]:
        """What happened, oldest first."""

    @property
    def is_live(self) -> bool:
        """Whether looking again may show something else."""

    @property
    def phase_word(self) -> str:
        """How it stands, in a word."""

    @property
    def phase_style(self) -> str:
        """The color of that word."""

    @property
    def about(self) -> str:
        """What the headline adds to the phase."""

    @property
    def verdict(self) -> str:
        """What came out of it; empty before the end."""

    @property
    def origin(self) -> dict[str, Any]:
        """Where it runs, for programs."""

    @property
    def advice(self) -> list[str]:
        """What to do next, then the commands that do it."""


S_co = TypeVar("S_co", bound=Seen, covariant=True)


class Watches(Protocol[S_co]):
    """Looks at one job, as often as anybody likes."""

    def look(self) -> S_co:
        """Look once."""
