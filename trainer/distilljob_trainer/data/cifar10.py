"""CIFAR-10 (Krizhevsky 2009): 32x32 RGB, 50,000 + 10,000 samples, in any of its usual forms.

Shapes: N samples of a split, C = 3 channels, H = W = 32.
"""

import io
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from distilljob_core.errors import DataError
from distilljob_trainer.data.augment import Augmentation
from distilljob_trainer.data.download import MissingDataError
from distilljob_trainer.data.split import InMemory, Normalization
from distilljob_trainer.data.stratify import subset

CLASSES: Final = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
NUM_PIXELS: Final = 3 * 32 * 32
ROWS_PER_BATCH: Final = 10_000
# The values of the lineage that the published accuracies come from; its deviations are means of per-image deviations.
NORMALIZATION: Final = Normalization((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
AUGMENTATION: Final = Augmentation(padding=4, flip=True)
BATCHES: Final = {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)}

Rows = tuple[NDArray[np.uint8], NDArray[np.int64]]  # pixels [N, 3072], labels [N]
Reader = Callable[[Path], Rows]


def cifar10(
    split: Literal["train", "test"], root: Path, *, train_samples: int | None = None, test_samples: int | None = None
) -> InMemory:
    """The published binary or Python version, or an image folder, in `root` or `root/cifar10`.

    Args:
        split: training or test set.
        root: folder of the data.
        train_samples: a balanced subset of the training set; null = all.
        test_samples: a balanced subset of the test set; null = all.

    Returns:
        uint8 [N, 3, 32, 32]; ids in the order of the published files, or of the images' sorted paths.

    Raises:
        MissingDataError, DataError: nothing found, or files truncated or damaged; the text names them.
    """
    images_NCHW, labels_N = _read(split, root, {"train": train_samples, "test": test_samples}[split])
    return InMemory(images_NCHW, labels_N, CLASSES, NORMALIZATION, AUGMENTATION)


def read_binary(path: Path) -> Rows:
    """One file of the binary version: rows of a label byte and 3,072 pixel bytes."""
    content, wanted = _bytes(path), ROWS_PER_BATCH * (NUM_PIXELS + 1)
    if len(content) != wanted:
        raise DataError(f"{path}: {len(content)} bytes instead of {wanted}; it is truncated or not CIFAR-10")
    rows = np.frombuffer(content, np.uint8).reshape(ROWS_PER_BATCH, NUM_PIXELS + 1)
    return rows[:, 1:], rows[:, 0].astype(np.int64)


def read_python(path: Path) -> Rows:
    """One file of the Python version: a pickled dictionary, read without running anything that it names."""
    content = _bytes(path)
    try:
        batch = _ArraysOnly(io.BytesIO(content), encoding="bytes").load()
        pixels, labels = np.asarray(batch[b"data"]), np.asarray(batch[b"labels"], np.int64)
    except Exception as error:  # a damaged pickle can raise anything
        raise DataError(f"{path}: not a batch of CIFAR-10's Python version: {type(error).__name__}: {error}") from error
    if pixels.dtype != np.uint8 or pixels.shape != (ROWS_PER_BATCH, NUM_PIXELS) or labels.shape != (ROWS_PER_BATCH,):
        raise DataError(
            f"{path}: {pixels.dtype} pixels {list(pixels.shape)} and labels {list(labels.shape)} "
            f"instead of uint8 [{ROWS_PER_BATCH}, {NUM_PIXELS}] and [{ROWS_PER_BATCH}]"
        )
    return pixels, labels


FORMS: Final[Sequence[tuple[str, str, Reader]]] = (
    ("cifar-10-batches-bin", ".bin", read_binary),
    ("cifar-10-batches-py", "", read_python),
)


class _ArraysOnly(pickle.Unpickler):
    """Rebuilds numpy arrays, containers, numbers and texts; refuses every other name."""

    # numpy's function that rebuilds arrays has had two public names; taken from an array, it needs neither.
    _ALLOWED: Final[dict[tuple[str, str], Any]] = {
        **{(f"numpy.{core}.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0] for core in ("core", "_core")},
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module_name: str, global_name: str) -> Any:
        """Look a name up among those allowed."""
        try:
            return self._ALLOWED[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(f"it refers to {module_name}.{global_name}") from None


def _read(split: str, root: Path, num_samples: int | None) -> tuple[Tensor, Tensor]:
    for base in (root, root / "cifar10"):
        if found := _find_batches(base, split):
            images_NCHW, labels_N = _concatenated(*found)
            ids = subset(labels_N, num_samples, split=split)
            return images_NCHW[ids], labels_N[ids]
        if (base / "train").is_dir():
            return _from_folder(base, split, num_samples)
    raise MissingDataError(
        f"cifar10: nothing in {root} or {root / 'cifar10'}. Expected cifar-10-batches-bin/data_batch_1.bin ..., "
        "cifar-10-batches-py/data_batch_1 ..., or {train,test}/CLASS/*.jpg. Unpack cifar-10-binary.tar.gz from "
        "https://www.cs.toronto.edu/~kriz/cifar.html there"
    )


def _find_batches(base: Path, split: str) -> tuple[list[Path], Reader] | None:
    for folder, suffix, read in FORMS:
        for candidate in (base / folder, base):
            if (candidate / f"data_batch_1{suffix}").is_file():
                return [candidate / f"{name}{suffix}" for name in BATCHES[split]], read
    return None


def _concatenated(paths: Sequence[Path], read: Reader) -> tuple[Tensor, Tensor]:
    parts = [read(path) for path in paths]
    for path, (_, labels) in zip(paths, parts, strict=True):
        if labels.min() < 0 or labels.max() >= len(CLASSES):
            raise DataError(f"{path}: labels from {labels.min()} to {labels.max()}, not 0 to 9; the file is damaged")
    pixels = np.concatenate([pixels for pixels, _ in parts])
    labels_N = np.concatenate([labels for _, labels in parts])
    return torch.from_numpy(pixels).reshape(-1, 3, 32, 32), torch.from_numpy(labels_N)


def _from_folder(base: Path, split: str, num_samples: int | None) -> tuple[Tensor, Tensor]:
    from distilljob_trainer.data.image_folder import read_folder  # needs Pillow, which the published forms do not

    images_NCHW, labels_N = read_folder(base, split, CLASSES, size=None, num_samples=num_samples)
    if images_NCHW.shape[1:] != (3, 32, 32):
        shape = list(images_NCHW.shape[1:])
        raise DataError(f"{base / split}: images of {shape} instead of [3, 32, 32]; use the dataset image_folder")
    return images_NCHW, labels_N


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
