"""What a codec of soft labels offers, and the codecs by the name they have in a DistillJob.

Shapes: N rows, K classes.
"""

from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from distilljob_core.errors import SpecError
from distilljob_core.softlabels.float16 import Float16
from distilljob_core.softlabels.grid import GridRows


class Codec(Protocol):
    """Bytes for probabilities, and grid integers for bytes (see grid.py). Callers bring one block of rows at a time."""

    @property
    def name(self) -> str:
        """As in spec.method.softLabels.codec."""

    def bytes_per_row(self, num_classes: int) -> int:
        """Size of one encoded row; all rows of a split have the same."""

    def encode(self, probs_NK: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Encode a student's softmax outputs; [N, bytes_per_row], contiguous.

        Raises:
            RowsOutOfRange: an entry is not finite, negative or above 1; the text names its row.
        """

    def encode_grid(self, u_NK: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Encode real numbers in units of the grid, such as a mean of decoded rows, with one rounding.

        Raises:
            RowsOutOfRange: as `encode`.
        """

    def decode(self, rows: bytes | memoryview, num_classes: int) -> GridRows:
        """Give the exact grid integers of encoded rows, [N, K], in a fresh array.

        Raises:
            RowsOutOfRange: no whole rows, a code that stands for no grid integer in [0, 2^31], or a row whose
                sum is off by more than 1e-3; the text names the row within the block.
        """


CODECS: Final[dict[str, Codec]] = {codec.name: codec for codec in (Float16(),)}


def codec(name: str) -> Codec:
    """Find a codec by its name; an unknown one is a SpecError."""
    if name not in CODECS:
        raise SpecError(f"spec.method.softLabels.codec: {name!r} is not supported; use one of {', '.join(CODECS)}")
    return CODECS[name]
