"""Balanced choices: every class gets its share, in an order that counters alone decide.

Shapes: N samples of a split.
"""

import torch
from torch import Tensor

from distilljob_core.errors import FactoryError
from distilljob_trainer.data.counters import Stream, shuffled, stream_key


def stratified_order(labels_N: Tensor, key: int) -> Tensor:
    """All ids, ordered so that every beginning is balanced, int64 [N].

    The first sample of every class comes first; then sample j of a class of n stands at (j + 1/2) / n.
    Within a class, and between equal places, the order is random in `key`.
    """
    rank_N, count_N = _ranks(labels_N, key)
    place_N = torch.where(rank_N == 0, 0.0, (rank_N.double() + 0.5) / count_N)
    order_N = shuffled(len(labels_N), key)
    return order_N[torch.argsort(place_N[order_N], stable=True)]


def holdout(labels_N: Tensor, *, fraction: float, maximum: int, seed: int) -> tuple[Tensor, Tensor]:
    """Split the training set into what is fitted and what weighs and selects the students.

    The slice has `fraction` of the samples, at least one per class, never more than `maximum`; every class keeps
    at least one sample to learn from.

    Returns:
        Ids to fit and ids held out, each ascending, together 0..N-1.
    """
    num_classes = len(torch.unique(labels_N))
    size = min(max(round(fraction * len(labels_N)), num_classes), maximum) if fraction > 0 else 0
    key = stream_key(Stream.HOLDOUT, seed)
    rank_N, count_N = _ranks(labels_N, key)
    order_N = stratified_order(labels_N, key)
    candidates = order_N[(rank_N < count_N - 1)[order_N]]
    held_N = torch.zeros(len(labels_N), dtype=torch.bool)
    held_N[candidates[:size]] = True
    return torch.nonzero(~held_N).flatten(), torch.nonzero(held_N).flatten()


def subset(labels_N: Tensor, num_samples: int | None, *, split: str) -> Tensor:
    """Ids of a balanced subset, ascending, the same in every process; all of them for None.

    Raises:
        FactoryError: more samples than there are, or fewer than one per class; it names the option `<split>_samples`.
    """
    if num_samples is None:
        return torch.arange(len(labels_N))
    check_count(num_samples, option=f"{split}_samples", minimum=len(torch.unique(labels_N)), maximum=len(labels_N))
    return stratified_order(labels_N, stream_key(Stream.SUBSET))[:num_samples].sort().values


def check_count(value: object, *, option: str, minimum: int, maximum: int) -> None:
    """Refuse a number of samples out of range.

    Raises:
        FactoryError: not an integer, or out of range.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not minimum <= value <= maximum:
        raise FactoryError(
            f"dataset option {option}: {value!r} is not an integer from {minimum} (one per class) to {maximum}"
        )


def _ranks(labels_N: Tensor, key: int) -> tuple[Tensor, Tensor]:
    """Each sample's rank within its class, random in `key`, and the size of its class."""
    by_key = shuffled(len(labels_N), key)
    by_class = by_key[torch.argsort(labels_N[by_key], stable=True)]
    counts = torch.bincount(labels_N)
    starts = torch.cumsum(counts, 0) - counts
    rank_N = torch.empty_like(by_class)
    rank_N[by_class] = torch.arange(len(labels_N)) - starts[labels_N[by_class]]
    return rank_N, counts[labels_N]
