"""What the resource says about the exchange; fixed for the life of a job."""

from dataclasses import dataclass
from typing import Self

from distilljob_core.exchange import RoundKey
from distilljob_core.softlabels.frames import Split
from distilljob_core.spec.job import DistillJob
from distilljob_core.spec.resolve import student_names


@dataclass(frozen=True, slots=True)
class Plan:
    """The rules of one job."""

    job: str
    uid: str
    method: str
    students: tuple[str, ...]
    """In spec order."""
    cycles: int
    codec: str
    weights: str
    temperature: float
    minimum_students: int | None = None
    """Quorum; None = every student."""
    cycle_deadline_seconds: float | None = None
    """None = never close short."""
    maximum_concurrent: int | None = None
    """None = all at once."""
    teacher_history: int | None = None
    """Cycles whose teachers are kept; None = all."""

    @classmethod
    def from_job(cls, job: DistillJob) -> Self:
        """Read the rules from the resource."""
        spec = job.spec
        history = spec.aggregator.teacher_history
        return cls(
            job=job.metadata.name,
            uid=job.metadata.uid,
            method=spec.method.name,
            students=student_names(spec),
            cycles=spec.method.cycles,
            codec=spec.method.soft_labels.codec,
            weights=spec.method.teacher.weights,
            temperature=spec.method.temperature,
            minimum_students=spec.quorum.minimum_students,
            cycle_deadline_seconds=spec.quorum.cycle_deadline_seconds,
            maximum_concurrent=spec.placement.maximum_concurrent_students,
            teacher_history=None if history == "All" else history,
        )

    @property
    def first_round(self) -> RoundKey:
        """Independent students exchange nothing but their evaluation labels."""
        return RoundKey(self.cycles, Split.EVALUATION) if self.method == "Independent" else RoundKey(1)

    def is_last(self, cycle: int, stop_after_cycle: int | None) -> bool:
        """Say whether no further training cycle follows, given the wish to end early."""
        return cycle >= self.cycles or (stop_after_cycle is not None and cycle >= stop_after_cycle)
