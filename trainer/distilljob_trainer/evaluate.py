"""How good a network is: accuracy, likelihood, calibration, disagreement.

All of it in float32 without autocast, in fixed blocks of ids, so that the same weights always give the same numbers.
Calibration is a property of the predictive distribution, so it is measured at temperature 1.

Shapes: B block, N samples, K classes.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from distilljob_core.measurements import ReliabilityBin
from distilljob_core.results import Calibrated
from distilljob_trainer.data.counters import Stream, seed_generators, stream_key
from distilljob_trainer.data.split import Split

BLOCK_ROWS: Final = 512
"""Ids of one forward pass: part of the bits of its results, so it is no setting."""
CALIBRATION_BINS: Final = 15


@dataclass(frozen=True, slots=True)
class Block:
    """Logits of some samples, float32, on the network's device."""

    ids_B: Tensor
    z_BK: Tensor
    y_B: Tensor


def predict(model: nn.Module, split: Split, ids_N: Tensor, *, first_row: int = 0) -> Iterator[Block]:
    """Run the network over samples as they are, in evaluation mode, block by block.

    Args:
        model: left in evaluation mode.
        split: the samples.
        ids_N: which of them, in this order; block j always holds ids_N[512 j : 512 (j + 1)].
        first_row: begin with the block that holds this position of `ids_N`.
    """
    model.eval()
    starts = range(first_row - first_row % BLOCK_ROWS, len(ids_N), BLOCK_ROWS)
    blocks = [ids_N[start : start + BLOCK_ROWS] for start in starts]
    for start, ids_B, (x, y_B) in zip(starts, blocks, split.batches(blocks), strict=True):
        seed_generators(stream_key(Stream.PREDICTION, start))  # for networks that draw in evaluation mode too
        with torch.no_grad():
            z_BK = model(x).float()
        yield Block(ids_B, z_BK, y_B)


@dataclass(frozen=True, slots=True)
class Score:
    """What hard predictions are worth."""

    num_correct: int
    num_samples: int
    cross_entropy: float
    """Mean over the samples, in nats, of softmax(z / t)."""

    @property
    def accuracy(self) -> float:
        """Share of correct predictions."""
        return self.num_correct / self.num_samples


def score(blocks: Iterable[Block], temperature: float = 1.0) -> Score:
    """Add up accuracy and cross-entropy over blocks; waits for the device once."""
    sums = None
    num_samples = 0
    for block in blocks:
        log_p_BK = torch.log_softmax(block.z_BK / temperature, dim=1)
        nll = -log_p_BK.gather(1, block.y_B[:, None]).sum(dtype=torch.float64)
        part = torch.stack(((block.z_BK.argmax(dim=1) == block.y_B).sum().double(), nll))
        sums = part if sums is None else sums + part
        num_samples += len(block.y_B)
    assert sums is not None, "no split is empty"
    num_correct, nll_sum = sums.tolist()
    return Score(round(num_correct), num_samples, nll_sum / num_samples)


def calibrated(p_NK: Tensor, y_N: Tensor) -> Calibrated:
    """Judge predicted distributions.

    NLL = -mean log p^y. ECE = sum_b (n_b / N) |accuracy_b - confidence_b| over 15 bins of equal width of the highest
    probability (Guo et al. 2017, arXiv:1706.04599).

    Args:
        p_NK: probabilities; exact zeros count as the smallest positive float32.
        y_N: int64 classes.
    """
    likelihood_N = p_NK.gather(1, y_N[:, None]).clamp(min=torch.finfo(torch.float32).tiny)
    gaps = [one.count * abs(one.accuracy - one.confidence) for one in reliability(p_NK, y_N)]
    return Calibrated(
        accuracy=(p_NK.argmax(dim=1) == y_N).double().mean().item(),
        nll=-likelihood_N.double().log().mean().item(),
        ece=sum(gaps) / len(y_N),
    )


def reliability(p_NK: Tensor, y_N: Tensor) -> list[ReliabilityBin]:
    """Sort predictions into 15 bins of equal width of their highest probability; bin b holds (b / 15, (b + 1) / 15].

    Args:
        p_NK: probabilities.
        y_N: int64 classes.
    """
    confidence_N, predicted_N = p_NK.double().max(dim=1)
    correct_N = (predicted_N == y_N).double()
    bin_N = (confidence_N * CALIBRATION_BINS).ceil().long().clamp(1, CALIBRATION_BINS) - 1
    sums = torch.zeros(CALIBRATION_BINS, 3, dtype=torch.float64, device=p_NK.device)
    sums.index_add_(0, bin_N, torch.stack((torch.ones_like(correct_N), confidence_N, correct_N), dim=1))
    return [
        ReliabilityBin(count=round(count), confidence=confidence / max(count, 1), accuracy=correct / max(count, 1))
        for count, confidence, correct in sums.tolist()
    ]


def disagreement(p_NK: Tensor, q_NK: Tensor) -> float:
    """Share of samples for which two predictors name different classes."""
    return (p_NK.argmax(dim=1) != q_NK.argmax(dim=1)).double().mean().item()
