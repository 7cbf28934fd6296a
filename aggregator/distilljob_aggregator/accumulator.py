"""The running sum of all students' soft labels for one split: 8 N K bytes, however many students there are.

Shapes: N rows of the split, B rows of a block, K classes.
"""

from collections.abc import Iterator
from threading import Lock
from typing import Final

import numpy as np
from numpy.typing import NDArray

from distilljob_aggregator.ensemble import mean_rows
from distilljob_core.errors import RowsOutOfRange
from distilljob_core.softlabels.codecs import Codec
from distilljob_core.softlabels.grid import GridRows

SCRATCH_VALUES: Final = 2**15
"""Values worked on at a time, 256 KiB: they stay in the processor's cache from one operation to the next."""


class Accumulator:
    """sum_i w_i u_i in float64, exact while sum w <= 2^22, so neither order nor a withdrawn student leaves a trace.

    Threads may share it; they add one after the other.
    """

    def __init__(self, num_rows: int, num_classes: int) -> None:
        self._sum_NK = np.zeros((num_rows, num_classes))
        self._scratch_BK = np.empty((max(1, SCRATCH_VALUES // num_classes), num_classes))
        self._lock = Lock()

    def add(self, first_row: int, u_BK: GridRows, weight: int) -> None:
        """Add w * u to the rows from `first_row` on; with -w they are taken back, exactly.

        Raises:
            RowsOutOfRange: the split has no such rows or other classes; nothing was added.
        """
        num_rows, num_classes = self._sum_NK.shape
        if not 0 <= first_row <= num_rows - len(u_BK) or u_BK.shape[1] != num_classes:
            raise RowsOutOfRange(
                f"rows {first_row}..{first_row + len(u_BK) - 1} of {u_BK.shape[1]} classes; "
                f"this split has {num_rows} rows of {num_classes}"
            )
        sum_BK = self._sum_NK[first_row : first_row + len(u_BK)]
        with self._lock:
            for part in self._parts(len(u_BK)):
                product_BK = self._scratch_BK[: part.stop - part.start]
                np.multiply(u_BK[part], np.float64(weight), out=product_BK)
                sum_BK[part] += product_BK

    def teacher_rows(self, first_row: int, num_rows: int, weight_sum: int, codec: Codec) -> NDArray[np.uint8]:
        """Encode the mean of these rows, [B, bytes_per_row]: one division, one rounding to the code.

        Every student that counts in `weight_sum` must have added all of these rows.
        """
        sum_BK = self._sum_NK[first_row : first_row + num_rows]
        codes_BK = np.empty((len(sum_BK), codec.bytes_per_row(sum_BK.shape[1])), np.uint8)
        for part in self._parts(len(sum_BK)):
            codes_BK[part] = codec.encode_grid(mean_rows(sum_BK[part], weight_sum))
        return codes_BK

    def _parts(self, num_rows: int) -> Iterator[slice]:
        step = len(self._scratch_BK)
        return (slice(start, min(start + step, num_rows)) for start in range(0, num_rows, step))
