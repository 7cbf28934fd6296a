"""How students become a teacher: S_e = sum_i a_i s_i, a_i = w_i / sum w (Gao et al. 2019, Entropy 21(4):357).

Weights are integers and probabilities integers on a grid (softlabels/grid.py), so the sum is exact; what rounds is one
division here and one step of the codec.

Shapes: B rows of a block, K classes.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from distilljob_core.errors import Mismatch, SpecError

MAXIMUM_WEIGHT_SUM: Final = 2**22
"""Times 2^31, the largest grid integer, this is 2^53: the last integer up to which float64 counts exactly."""


def check_weight(rule: str, weight: int, *, num_correct: int, holdout_size: int) -> None:
    """Compare a student's weight with the rule it must follow.

    Accuracy: the number of hold-out samples it got right. Uniform: 1.

    Raises:
        Mismatch: the weight cannot come from that rule, or the number right not from that hold-out.
    """
    if holdout_size < 1 or not 0 <= num_correct <= holdout_size:
        raise Mismatch(f"{num_correct} right answers cannot come from a hold-out of {holdout_size} samples")
    demanded = {"Accuracy": num_correct, "Uniform": 1}[rule]
    if weight != demanded:
        raise Mismatch(f"weight {weight} is not {demanded}, as spec.method.teacher.weights: {rule} demands")


def check_weight_sum(weights: Mapping[str, int]) -> None:
    """Refuse weights, by student, with which the sum would no longer be exact.

    Raises:
        SpecError: sum w > 2^22.
    """
    total = sum(weights.values())
    if total > MAXIMUM_WEIGHT_SUM:
        raise SpecError(
            f"the weights of {len(weights)} students sum to {total}, more than {MAXIMUM_WEIGHT_SUM}; "
            "lower spec.dataset.holdout.maximumSamples"
        )


def mean_rows(sum_BK: NDArray[np.float64], weight_sum: int) -> NDArray[np.float64]:
    """Divide exact sums of w * u by sum w: the teacher in units of the grid, rounded once, [B, K]."""
    return sum_BK / np.float64(weight_sum)
