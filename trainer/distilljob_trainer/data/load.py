"""From a dataset's name to everything a student needs of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from distilljob_core.errors import DataError, FactoryError
from distilljob_core.softlabels.fingerprint import Fingerprint, FingerprintBuilder
from distilljob_trainer.data.download import PUBLISHED, MissingDataError, fetch
from distilljob_trainer.data.registry import read_split
from distilljob_trainer.data.split import Data, InMemory, MemorySplit, Split
from distilljob_trainer.data.stratify import holdout
from distilljob_trainer.data.streaming import Streamed, stream

Sets = tuple[InMemory | Streamed, InMemory | Streamed]
"""The training set and the test set."""


def load(
    name: str,
    options: Mapping[str, Any],
    root: Path,
    *,
    download: Literal["IfMissing", "Never"],
    augmentation: Literal["Default", "Disabled"],
    holdout_fraction: float,
    holdout_maximum: int,
    seed: int,
    num_workers: int,
) -> Data:
    """Read both splits into memory, or open them for streaming; check them and choose the hold-out.

    Args:
        name: a built-in dataset (`registry.BUILT_IN`) or `package.module:factory`.
        options: the factory's keyword arguments.
        root: folder of the data.
        download: fetch a published dataset that is not in `root`, or not.
        augmentation: the dataset's own, or none.
        holdout_fraction: share of the training set that no gradient step sees.
        holdout_maximum: never more samples than this.
        seed: of the hold-out's choice. Every student of a job must pass the same.
        num_workers: processes that read streamed samples; 0 = this process does.

    Raises:
        FactoryError: the name, the options or the factory are wrong.
        DataError: files missing or damaged.
    """
    sets = _read(name, options, root, download)
    train, test = _splits(name, sets, num_workers=num_workers, augment=augmentation == "Default")
    classes = _classes(name, sets, torch.cat([train.labels_N, test.labels_N]))
    if train.preprocessing != test.preprocessing:
        raise FactoryError(
            f"dataset {name!r}: training samples are {train.preprocessing}, test samples are {test.preprocessing}; "
            "the two must agree"
        )
    fit_ids_N, holdout_ids_N = holdout(train.labels_N, fraction=holdout_fraction, maximum=holdout_maximum, seed=seed)
    if len(fit_ids_N) < 2 or len(holdout_ids_N) < 1:
        raise DataError(
            f"dataset {name!r} has {train.num_samples} training samples of {len(classes)} classes: too few to fit some "
            "and hold others out"
        )
    return Data(
        train=train,
        test=test,
        fit_ids_N=fit_ids_N,
        holdout_ids_N=holdout_ids_N,
        class_names=classes,
        train_fingerprint=_fingerprint(train, classes),
        evaluation_fingerprint=_fingerprint(test, classes),
    )


def _read(name: str, options: Mapping[str, Any], root: Path, download: Literal["IfMissing", "Never"]) -> Sets:
    try:
        return _read_splits(name, options, root)
    except MissingDataError:
        if download == "Never" or name not in PUBLISHED:
            raise
    return _read_splits(name, options, fetch(name, root))


def _read_splits(name: str, options: Mapping[str, Any], root: Path) -> Sets:
    return read_split(name, "train", root, dict(options)), read_split(name, "test", root, dict(options))


def _splits(name: str, sets: Sets, *, num_workers: int, augment: bool) -> tuple[Split, Split]:
    named = dict(zip(("train", "test"), sets, strict=True))
    streamed = {part: one for part, one in named.items() if isinstance(one, Streamed)}
    splits: dict[str, Split] = {**stream(name, streamed, num_workers=num_workers, augment=augment)}
    for part, one in named.items():
        if isinstance(one, InMemory):
            augmentation = one.augmentation if augment else None
            splits[part] = MemorySplit(one.labels_N, one.normalization, one.inputs, augmentation)
    return splits["train"], splits["test"]


def _classes(name: str, sets: Sets, labels: Tensor) -> tuple[str, ...]:
    """Names of the classes; the numbers up to the greatest label where the dataset gives none."""
    train, test = sets
    if train.classes != test.classes:
        raise FactoryError(
            f"dataset {name!r}: the training set has classes {_listed(train.classes)}, "
            f"the test set {_listed(test.classes)}; the two must agree"
        )
    lowest, highest = int(labels.min()), int(labels.max())
    classes = train.classes or tuple(str(label) for label in range(highest + 1))
    if lowest < 0 or highest >= len(classes) or len(classes) < 2:
        raise FactoryError(
            f"dataset {name!r} has labels from {lowest} to {highest} and {len(classes)} classes; "
            "labels must be 0 to K-1 for K classes, at least two"
        )
    return classes


def _fingerprint(split: Split, classes: Sequence[str]) -> Fingerprint:
    builder = FingerprintBuilder(f"{split.preprocessing}; classes {', '.join(classes)}", len(classes))
    builder.add(split.labels_N.tolist(), split.contents())
    return builder.finish()


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
