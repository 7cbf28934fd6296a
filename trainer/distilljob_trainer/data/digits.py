"""Handwritten digits, 8x8 gray, 1,797 samples: scikit-learn's own copy, so nothing is downloaded."""

from importlib.metadata import distribution
from pathlib import Path
from typing import Final, Literal

import numpy as np
import torch

from distilljob_trainer.data.counters import Stream, stream_key
from distilljob_trainer.data.split import InMemory
from distilljob_trainer.data.stratify import check_count, stratified_order

NUM_SAMPLES: Final = 1797
NUM_CLASSES: Final = 10
_FILE: Final = "sklearn/datasets/data/digits.csv.gz"


def digits(split: Literal["train", "test"], root: Path, *, train_samples: int = 1000) -> InMemory:
    """The first `train_samples` of one fixed balanced order are the training set, the rest is the test set.

    Args:
        split: which of the two.
        root: not looked at.
        train_samples: size of the training set, 10 to 1,787.

    Returns:
        float32 [N, 1, 8, 8], intensities 0..16 divided by 16; no augmentation.
    """
    check_count(train_samples, option="train_samples", minimum=NUM_CLASSES, maximum=NUM_SAMPLES - NUM_CLASSES)
    # Not with load_digits: importing scikit-learn takes a second of every student's start.
    table = np.loadtxt(str(distribution("scikit-learn").locate_file(_FILE)), delimiter=",")
    images_NCHW = torch.from_numpy(table[:, :-1]).float().div_(16).reshape(-1, 1, 8, 8)
    labels_N = torch.from_numpy(table[:, -1]).long()
    order_N = stratified_order(labels_N, stream_key(Stream.SUBSET))
    ids = order_N[:train_samples] if split == "train" else order_N[train_samples:]
    return InMemory(images_NCHW[ids], labels_N[ids], tuple(str(digit) for digit in range(NUM_CLASSES)))
