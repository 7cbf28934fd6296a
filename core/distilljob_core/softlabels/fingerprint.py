"""The fingerprint of a split: students whose datasets differ would teach each other nonsense, so it is compared."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_128_digest

from distilljob_core.errors import DataError

_SAMPLE: Final = struct.Struct("<q16s")
_END: Final = struct.Struct("<QQQ")


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Equal for equal ids, labels, preprocessing and contents."""

    num_rows: int
    num_classes: int
    digest: str
    """sha256, 64 hexadecimal digits."""


class FingerprintBuilder:
    """Takes a split's samples in the order of their ids, 0..N-1, in pieces of any size.

    digest = sha256((label i64, xxh3_128(content)) of each sample, preprocessing in UTF-8, its length u64, N u64,
    K u64), all little-endian.
    """

    def __init__(self, preprocessing: str, num_classes: int) -> None:
        """Describe everything that turns contents into network inputs: size, mean, deviation, version of the code."""
        self._preprocessing = preprocessing.encode()
        self._num_classes = num_classes
        self._num_rows = 0
        self._digest = sha256()

    def add(self, labels: Iterable[int], contents: Iterable[bytes | memoryview | NDArray[Any]]) -> None:
        """Add the next samples.

        Args:
            labels: their classes, as an array or a list.
            contents: what tells one sample from another: an array with one sample per leading index, or a list of the
                files' bytes. Arrays of more than one byte an element count as they lie in memory.

        Raises:
            DataError: a label outside of 0..K-1; the text names the sample's id.
            ValueError: more labels than contents, or fewer.
        """
        for label, content in zip(labels, contents, strict=True):
            if not 0 <= label < self._num_classes:
                raise DataError(f"sample {self._num_rows}: label {label} is not in 0..{self._num_classes - 1}")
            view = np.ascontiguousarray(content).data if isinstance(content, np.ndarray) else memoryview(content)
            self._digest.update(_SAMPLE.pack(label, xxh3_128_digest(view)))
            self._num_rows += 1

    def finish(self) -> Fingerprint:
        """Give the fingerprint of all samples added so far."""
        digest = self._digest.copy()
        digest.update(self._preprocessing)
        digest.update(_END.pack(len(self._preprocessing), self._num_rows, self._num_classes))
        return Fingerprint(self._num_rows, self._num_classes, digest.hexdigest())
