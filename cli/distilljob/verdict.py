"""What a run showed, in words: no more than was measured."""

from math import sqrt
from typing import Final

from distilljob_core.results import RunResult

NOT_MEASURED: Final = (
    "Whether distillation helped is not measured here: run `distilljob compare` (not built yet; until then the same "
    "file with --set method.name=Independent, over several seeds)."
)
NO_TEACHER: Final = "The students trained without a teacher, to be compared with the same file and method.name MD."


def verdict(result: RunResult) -> str:
    """Judge the ensemble against the best student on the test set, with the error of that comparison."""
    best = next(student for student in result.students if student.name == result.best)
    closing = NO_TEACHER if result.method == "Independent" else NOT_MEASURED
    if result.ensemble is None:
        return (
            f"The best student by hold-out accuracy is {best.name}: {_percent(best.accuracy.last)} on the test set. "
            f"There is no ensemble to compare it with. {closing}"
        )
    compared = compare_accuracies(result.ensemble.accuracy, best.accuracy.last, best.test_samples)
    members = len(result.ensemble.members)
    return (
        f"The ensemble of {members} {'student' if members == 1 else 'students'} reaches "
        f"{_percent(result.ensemble.accuracy)} on the test set, the best student ({best.name}, by hold-out accuracy) "
        f"{_percent(best.accuracy.last)}: {compared}. {closing}"
    )


def compare_accuracies(ensemble: float, student: float, num_samples: int | None) -> str:
    """Say how far apart two accuracies on the same test set are, and whether that is more than chance.

    Two independent samples would differ by sqrt((p (1 - p) + q (1 - q)) / n), one standard error; two predictors on
    the same samples differ by less, so this errs towards calling a difference chance.
    """
    points = 100 * (ensemble - student)
    direction = "as much" if points == 0 else f"{abs(points):.2f} points {'more' if points > 0 else 'less'}"
    if not num_samples:
        return direction
    error = 100 * sqrt((ensemble * (1 - ensemble) + student * (1 - student)) / num_samples)
    inside = "within" if abs(points) <= error else "more than"
    return f"{direction}, {inside} one binomial standard error ({error:.2f} points, {num_samples:,} test samples)"


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.2f} %"
