"""Everything outside of the student that a run acts upon."""

from dataclasses import dataclass

from distilljob_trainer.checkpoint import Checkpoints
from distilljob_trainer.journal import Journal
from distilljob_trainer.leaving import Leaving
from distilljob_trainer.metrics import StudentMetrics
from distilljob_trainer.progress import Progress
from distilljob_trainer.teacher import Teacher


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a run talks to."""

    teacher: Teacher
    progress: Progress
    leaving: Leaving
    metrics: StudentMetrics
    checkpoints: Checkpoints
    journal: Journal
