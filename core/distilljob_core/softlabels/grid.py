"""The grid that makes sums of soft labels exact.

Every codec decodes to integers u with p = u * 2^-31. An integer weight w times u, summed over students with
sum w <= 2^22, stays below 2^53: float64 holds each partial sum exactly, so the sum depends on no order of arrival
and a student can be subtracted without a trace.

Shapes: N rows, K classes.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from distilljob_core.errors import RowsOutOfRange

GRID: Final = 2**31
"""The integer that stands for p = 1."""

ROW_SUM_TOLERANCE: Final = 1e-3
"""How far a decoded row may be from summing to 1."""

UPLOAD_TOLERANCE: Final = 5e-4
"""The same for a student's rows: rounding their mean once more adds as much, and that must pass at every receiver."""

GridRows = NDArray[np.floating[Any]]
"""Integers u in float32 or float64, whichever holds a codec's values exactly; [N, K]."""


def row_sums(u_NK: GridRows) -> NDArray[np.float64]:
    """Sum the integers of each row, [N]; exact, so the same on every machine."""
    sums_N: NDArray[np.float64] = np.einsum("nk->n", u_NK, dtype=np.float64, casting="safe")
    return sums_N


def check_row_sums(u_NK: GridRows, tolerance: float = ROW_SUM_TOLERANCE) -> None:
    """Refuse rows that are no distributions.

    Raises:
        RowsOutOfRange: |sum p - 1| above the tolerance in some row; the text names the first.
    """
    sums_N = row_sums(u_NK) / GRID
    off_N = ~(np.abs(sums_N - 1) <= tolerance)  # NaN is off too
    if off_N.any():
        row = int(off_N.argmax())
        raise RowsOutOfRange(f"row {row} of the block sums to {sums_N[row]:.6f}, not 1; send softmax outputs")


def renormalize(u_NK: GridRows) -> NDArray[np.float32]:
    """Turn checked grid rows into probabilities whose rows sum to 1 in float32.

    p = u / sum(u): the sum is exact and rounded once, the division once, so every receiver gets the same bits.
    """
    sums_N = row_sums(u_NK).astype(np.float32)
    return np.divide(u_NK, sums_N[:, np.newaxis], dtype=np.float32, casting="same_kind")
