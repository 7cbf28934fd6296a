import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from distilljob_trainer.evaluate import BLOCK_ROWS, Block, calibrated, disagreement, predict, reliability, score
from distilljob_trainer.selection import EpochAccuracy, Selection


def test_the_score_of_known_logits():
    z_BK = torch.tensor([[2.0, 0.0], [0.0, 2.0], [2.0, 0.0]])
    blocks = iter(
        [Block(torch.arange(2), z_BK[:2], torch.tensor([0, 0])), Block(torch.arange(1), z_BK[2:], torch.tensor([0]))]
    )
    result = score(blocks, temperature=2.0)
    assert (result.num_correct, result.num_samples) == (2, 3)
    right, wrong = math.log1p(math.exp(-1)), math.log1p(math.exp(1))
    assert result.cross_entropy == pytest.approx((2 * right + wrong) / 3)


def test_calibration_error_of_a_predictor_that_is_too_sure():
    """Says 0.9 and is right half of the time, says 0.6 and always is."""
    p_NK = torch.tensor([[0.9, 0.1]] * 4 + [[0.6, 0.4]] * 4)
    y_N = torch.tensor([0, 0, 1, 1] + [0] * 4)
    result = calibrated(p_NK, y_N)
    assert result.accuracy == 0.75
    assert result.ece == pytest.approx((0.4 + 0.4) / 2)
    assert result.nll == pytest.approx(-(2 * math.log(0.9) + 2 * math.log(0.1) + 4 * math.log(0.6)) / 8)


def test_calibration_error_as_computed_by_its_definition():
    rng = np.random.default_rng(3)
    p_NK = torch.from_numpy(rng.dirichlet([1.0] * 5, 200)).float()
    y_N = torch.from_numpy(rng.integers(0, 5, 200))
    expected = 0.0
    confidence, predicted = p_NK.max(dim=1)
    for index in range(15):
        inside = (confidence > index / 15) & (confidence <= (index + 1) / 15)
        if inside.any():
            gap = (predicted[inside] == y_N[inside]).double().mean() - confidence[inside].double().mean()
            expected += inside.double().mean().item() * abs(gap.item())
    assert calibrated(p_NK, y_N).ece == pytest.approx(expected, abs=1e-6)


def test_predictions_are_sorted_into_bins_by_their_confidence():
    p_NK = torch.tensor([[0.9, 0.1], [0.1, 0.9], [0.92, 0.08], [0.6, 0.4], [0.5, 0.5], [1.0, 0.0]]).double()
    p_NK[3, 0] = 0.6  # 9 / 15, which belongs below
    bins = reliability(p_NK, torch.tensor([0, 0, 0, 1, 0, 0]))
    found = {number: one for number, one in enumerate(bins) if one.count}
    assert len(bins) == 15
    assert list(found) == [7, 8, 13, 14]
    assert [one.count for one in found.values()] == [1, 1, 3, 1]
    assert [one.accuracy for one in found.values()] == pytest.approx([1, 0, 2 / 3, 1])
    assert [one.confidence for one in found.values()] == pytest.approx([0.5, 0.6, (0.9 + 0.9 + 0.92) / 3, 1.0])
    assert {(one.confidence, one.accuracy) for one in bins if not one.count} == {(0.0, 0.0)}


@given(rows=st.integers(1, 300), classes=st.integers(1, 20), sharpness=st.floats(0.01, 10), seed=st.integers(0, 999))
def test_bins_hold_every_sample_once_and_reproduce_the_calibration_error(rows, classes, sharpness, seed):
    rng = np.random.default_rng(seed)
    z_NK = torch.from_numpy(rng.normal(scale=1 / sharpness, size=(rows, classes))).float()
    p_NK, y_N = z_NK.softmax(dim=1), torch.from_numpy(rng.integers(0, classes, rows))
    bins, judged = reliability(p_NK, y_N), calibrated(p_NK, y_N)
    assert sum(one.count for one in bins) == rows
    assert sum(one.count * one.accuracy for one in bins) == pytest.approx(rows * judged.accuracy)
    gap = sum(one.count / rows * abs(one.accuracy - one.confidence) for one in bins)
    assert gap == pytest.approx(judged.ece, abs=1e-12)


def test_a_zero_on_the_true_class_has_a_finite_likelihood():
    assert math.isfinite(calibrated(torch.tensor([[1.0, 0.0]]), torch.tensor([1])).nll)


def test_disagreement_counts_different_classes():
    p_NK = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    assert disagreement(p_NK, torch.tensor([[0.6, 0.4], [0.7, 0.3]])) == 0.5


class Noting(nn.Module):
    """Remembers what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.batches = []

    def forward(self, x):
        assert not self.training
        self.batches.append(x)
        return x.flatten(1)[:, :10]


def test_blocks_hold_the_same_samples_from_wherever_a_pass_begins(group):
    split = group(dataset={"options": {"train_samples": 1200}}).data.train
    whole, resumed = Noting(), Noting()
    list(predict(whole, split, torch.arange(1200)))
    first = next(predict(resumed, split, torch.arange(1200), first_row=BLOCK_ROWS + 5))
    assert [len(batch) for batch in whole.batches] == [512, 512, 176]
    assert first.ids_B[0] == BLOCK_ROWS
    assert torch.equal(resumed.batches[0], whole.batches[1])


def test_the_hold_out_selects_and_the_test_set_never_does():
    selection = Selection()
    for epoch, (holdout, test) in enumerate([(0.5, 0.9), (0.7, 0.6), (0.7, 0.8), (0.6, 0.7)], start=1):
        selection = selection.after(epoch, EpochAccuracy(holdout, test))
    assert selection.selected == EpochAccuracy(0.7, 0.6)
    assert selection.selected_epoch == 2
    assert selection.optimistic == 0.9
    assert selection.last == EpochAccuracy(0.6, 0.7)
