"""Fashion-MNIST (Xiao et al. 2017, arXiv:1708.07747): 28x28 gray, 60,000 + 10,000 samples in IDX files."""

import gzip
import math
import zlib
from pathlib import Path
from typing import Final, Literal

import numpy as np
import torch
from torch import Tensor

from distilljob_core.errors import DataError
from distilljob_trainer.data.augment import Augmentation
from distilljob_trainer.data.download import MissingDataError
from distilljob_trainer.data.split import InMemory, Normalization
from distilljob_trainer.data.stratify import subset

CLASSES: Final = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
NUM_SAMPLES: Final = {"train": 60_000, "test": 10_000}
PREFIX: Final = {"train": "train", "test": "t10k"}
FOLDERS: Final = (".", "fashion_mnist", "fashion-mnist", "FashionMNIST/raw")
NORMALIZATION: Final = Normalization((0.2860,), (0.3530,))
# As Zhong et al. 2017 (arXiv:1708.04896) train on it.
AUGMENTATION: Final = Augmentation(padding=4, flip=True)

_IDX_UINT8: Final = 0x08


def fashion_mnist(
    split: Literal["train", "test"], root: Path, *, train_samples: int | None = None, test_samples: int | None = None
) -> InMemory:
    """The published files, plain or gzipped, in `root` or one of the folders that installers use below it.

    Args:
        split: training or test set.
        root: folder of the data.
        train_samples: a balanced subset of the training set; null = all.
        test_samples: a balanced subset of the test set; null = all.

    Returns:
        uint8 [N, 1, 28, 28], ids in the order of the file.

    Raises:
        MissingDataError, DataError: files missing, truncated or not what they should be.
    """
    num_samples = NUM_SAMPLES[split]
    images_NCHW = read_idx(_find(root, f"{PREFIX[split]}-images-idx3-ubyte"), (num_samples, 28, 28)).unsqueeze(1)
    labels_path = _find(root, f"{PREFIX[split]}-labels-idx1-ubyte")
    labels_N = read_idx(labels_path, (num_samples,)).long()
    if labels_N.max() >= len(CLASSES):
        raise DataError(f"{labels_path}: label {int(labels_N.max())} is not in 0..9; the file is damaged")
    ids = subset(labels_N, {"train": train_samples, "test": test_samples}[split], split=split)
    return InMemory(images_NCHW[ids], labels_N[ids], CLASSES, NORMALIZATION, AUGMENTATION)


def read_idx(path: Path, shape: tuple[int, ...]) -> Tensor:
    """Read an IDX file of bytes: two zeros, the type, the number of dimensions, each as big-endian u32, the bytes.

    Raises:
        DataError: unreadable, or not of this shape.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read, probably truncated: {error}; fetch it again") from error
    header = bytes((0, 0, _IDX_UINT8, len(shape))) + b"".join(size.to_bytes(4, "big") for size in shape)
    if content[: len(header)] != header:
        raise DataError(f"{path}: not an IDX file of {list(shape)} bytes; fetch it again")
    if len(content) != len(header) + math.prod(shape):
        raise DataError(
            f"{path}: holds {len(content) - len(header)} of {math.prod(shape)} bytes; it is truncated, fetch it again"
        )
    return torch.from_numpy(np.frombuffer(bytearray(content), np.uint8, offset=len(header)).reshape(shape))


def _find(root: Path, name: str) -> Path:
    for folder in FOLDERS:
        for candidate in (root / folder / name, root / folder / f"{name}.gz"):
            if candidate.is_file():
                return candidate
    raise MissingDataError(
        f"fashion_mnist: no {name} or {name}.gz in {', '.join(str(root / folder) for folder in FOLDERS)}. "
        "Put the four published files there: {train,t10k}-{images-idx3,labels-idx1}-ubyte.gz from "
        "https://github.com/zalandoresearch/fashion-mnist. Debian's package dataset-fashion-mnist has them "
        "in /usr/share/datasets"
    )
