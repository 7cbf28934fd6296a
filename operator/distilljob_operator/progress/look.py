"""What is asked about an aggregator, who answers, and what one look at it brings. Pure."""

from dataclasses import dataclass, field
from typing import Protocol

from distilljob_core.progress import Progress, as_of
from distilljob_core.round_table import RoundTable

JobKey = tuple[str, str]
"""Namespace and name."""


class Unreadable(Exception):
    """The aggregator, or whoever speaks for it, cannot be read now; the text says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """One job's aggregator."""

    key: JobKey
    uid: str
    """Of the job; what answers for another one is not believed."""
    pod_name: str = ""
    """Empty while it has no pod."""
    pod_ip: str = ""

    @property
    def namespace(self) -> str:
        """Of the job and its children."""
        return self.key[0]

    @property
    def job(self) -> str:
        """Name of the job."""
        return self.key[1]


@dataclass(frozen=True, slots=True)
class Found:
    """What a source has of one job now."""

    progress: Progress
    """No data, with the reason, where the source failed."""
    age_seconds: float = 0.0
    """Of the samples, when they were handed over."""
    table: RoundTable | None = None
    message: str = ""
    """Why there is no table."""
    clock: float | None = None
    """The aggregator's, where samples are said to be of this moment: then it has moved since the last look."""


class Source(Protocol):
    """Where progress and tables come from. Never raises: what cannot be read is an answer, too."""

    @property
    def name(self) -> str:
        """As in the settings."""

    @property
    def stale_after_seconds(self) -> float:
        """Age of samples from which on they say nothing about now."""

    async def find(self, target: Target) -> Found:
        """Look at one aggregator."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a job's aggregator."""

    taken_seconds: float
    """When it began: it knows of nothing that happened later."""
    progress: Progress = field(default_factory=Progress)
    """Of this look; if this one failed and the one before did not, still of that one."""
    found_seconds: float = 0.0
    """When the look began that brought that progress."""
    scraped_seconds: float = 0.0
    """When the samples of that progress were taken."""
    stale_after_seconds: float = float("inf")
    """Age of the samples from which on they say nothing about now."""
    table: RoundTable | None = None
    """None = unreadable."""
    message: str = ""
    """Why the table is unreadable."""
    clock: float | None = None
    """The aggregator's, as last found."""

    def progress_at(self, now_seconds: float) -> Progress:
        """Give the progress as it is to be judged now."""
        return as_of(
            self.progress,
            taken_seconds=self.scraped_seconds,
            now_seconds=now_seconds,
            stale_after_seconds=self.stale_after_seconds,
        )

    @property
    def fresh_until_seconds(self) -> float:
        """When its progress becomes stale."""
        return self.scraped_seconds + self.stale_after_seconds
