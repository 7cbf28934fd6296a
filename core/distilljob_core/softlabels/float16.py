"""The default codec: p * 2^15 as IEEE half precision, two bytes a class, nearly free of loss.

The factor keeps every p above 2^-29 a normal half. Bits are moved by integer arithmetic: numpy's own conversion is
several times slower, and arithmetic on subnormals changes when a library sets flush-to-zero. Instead of subnormals
both directions use

    v = max(u, u/2 + 2)        u = min(v, 2v - 4)

which moves the integers 0..3, the half's subnormals, to 2, 2.5, 3, 3.5, so that the half is always the same eleven
leading bits of the float32 v, with 128 subtracted from its exponent.

Shapes: N rows, K classes.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from distilljob_core.errors import RowsOutOfRange
from distilljob_core.softlabels.grid import GRID, check_row_sums

ONE: Final = 0x7800
"""The code of p = 1, the highest."""
DENSE: Final = 0x2400
"""The code of u = 1024: from here on every code is a grid integer, below some lie between two."""
DROPPED_BITS: Final = 13
"""Mantissa bits that float32 has and a half has not."""
EXPONENT_SHIFT: Final = np.uint32(128 << 10)
"""Distance between the exponents of v in float32 and of p * 2^15 in the half, above the half's mantissa."""
TO_GRID: Final = np.float32(1.5 * 2**23)
"""Adding and subtracting it rounds a float32 to the grid; in units of p * 2^15 this is the number 192."""
TO_GRID_MEAN: Final = 1.5 * 2**42
"""Times a float64's power of two: adding and subtracting that leaves eleven significant bits."""
EXPONENT_MASK: Final = np.int64(0x7FF0_0000_0000_0000)
HIGHEST: Final = np.float32(GRID + GRID // 2**11).view(np.uint32)
"""Bits of the largest float32 that rounds to p = 1; those of negative numbers, inf and NaN are above it."""


class Float16:
    """|decoded - p| <= 2^-11 p + 2^-32 for every p in [0, 1], so row sums keep within 5e-4 + K * 2^-32.

    `encode` quantizes x = p * 2^15 in float32 by (x + 192) - 192, then rounds to half precision, ties to even.
    `encode_grid` rounds once, to the nearest code, ties to even.
    """

    name: Final = "Float16"

    def bytes_per_row(self, num_classes: int) -> int:
        """Two bytes a class."""
        return 2 * num_classes

    def encode(self, probs_NK: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Encode softmax outputs; see `Codec.encode`."""
        with np.errstate(over="ignore", invalid="ignore"):  # such rows are refused below
            u_NK = probs_NK * np.float32(GRID)
            u_NK += TO_GRID
            u_NK -= TO_GRID
        return _codes(u_NK)

    def encode_grid(self, u_NK: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Encode means of decoded rows; see `Codec.encode_grid`."""
        with np.errstate(over="ignore", invalid="ignore"):
            anchor_NK = (u_NK.view(np.int64) & EXPONENT_MASK).view(np.float64)
            np.maximum(anchor_NK, 1024.0, out=anchor_NK)  # below, whole integers are the finer limit
            anchor_NK *= TO_GRID_MEAN
            nearest_NK = u_NK + anchor_NK
            nearest_NK -= anchor_NK
            return _codes(nearest_NK.astype(np.float32))

    def decode(self, rows: bytes | memoryview, num_classes: int) -> NDArray[np.float32]:
        """Give the exact integers u as float32; see `Codec.decode`."""
        if len(rows) % self.bytes_per_row(num_classes):
            raise RowsOutOfRange(f"{len(rows)} bytes are no whole number of Float16 rows of {num_classes} classes")
        codes_NK = np.frombuffer(rows, "<u2").reshape(-1, num_classes)
        if codes_NK.max(initial=0) > ONE:
            raise _refusal(codes_NK, codes_NK > ONE)
        u_NK = _integers(codes_NK)
        if codes_NK.min(initial=ONE) < DENSE:
            between_NK = np.rint(u_NK) != u_NK
            if between_NK.any():
                raise _refusal(codes_NK, between_NK)
        check_row_sums(u_NK)
        return u_NK


def _codes(u_NK: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Round float32 grid integers to half precision, ties to even; the input is scratch afterwards."""
    bits_NK = u_NK.view(np.uint32)
    if bits_NK.max(initial=0) > HIGHEST:
        row, column = np.argwhere(bits_NK > HIGHEST)[0]
        value = float(u_NK[row, column]) / GRID
        raise RowsOutOfRange(f"row {row} of the block, class {column}: {value:g} is no probability")
    np.maximum(u_NK, u_NK * np.float32(0.5) + np.float32(2), out=u_NK)
    odd_NK = bits_NK >> DROPPED_BITS
    odd_NK &= 1
    bits_NK += odd_NK
    bits_NK += np.uint32((1 << (DROPPED_BITS - 1)) - 1)
    bits_NK >>= DROPPED_BITS
    bits_NK -= EXPONENT_SHIFT
    return bits_NK.astype("<u2").view(np.uint8)


def _integers(codes_NK: NDArray[np.uint16]) -> NDArray[np.float32]:
    bits_NK = codes_NK.astype(np.uint32)
    bits_NK += EXPONENT_SHIFT
    bits_NK <<= DROPPED_BITS
    v_NK = bits_NK.view(np.float32)
    low_NK = v_NK * np.float32(2)
    low_NK -= np.float32(4)
    np.minimum(v_NK, low_NK, out=v_NK)
    return v_NK


def _refusal(codes_NK: NDArray[np.uint16], bad_NK: NDArray[np.bool_]) -> RowsOutOfRange:
    row, column = np.argwhere(bad_NK)[0]
    code = int(codes_NK[row, column])
    return RowsOutOfRange(f"row {row} of the block, class {column}: {code:#06x} is no Float16 code of a probability")
