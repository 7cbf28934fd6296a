"""All that is wrong with a DistillJob, as one error."""

from collections.abc import Sequence

from distilljob_core.errors import SpecError
from distilljob_core.spec.base import Problem


class SpecProblems(SpecError):
    """Everything that is wrong, at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))
