import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distilljob_core.errors import FactoryError
from distilljob_trainer.data.stratify import holdout, stratified_order, subset

label_lists = st.lists(st.integers(0, 5), min_size=1, max_size=200).map(torch.tensor)
TEN_CLASSES = torch.arange(1000) % 10


@settings(deadline=None)
@given(label_lists, st.integers(0, 2**63))
def test_a_stratified_order_holds_every_id_once_and_begins_with_every_class(labels_N, key):
    order = stratified_order(labels_N, key)
    assert torch.equal(order.sort().values, torch.arange(len(labels_N)))
    num_classes = len(torch.unique(labels_N))
    assert len(torch.unique(labels_N[order[:num_classes]])) == num_classes


@pytest.mark.parametrize("size", [10, 17, 100, 333, 990])
def test_every_beginning_of_a_stratified_order_is_balanced(size):
    counts = torch.bincount(TEN_CLASSES[stratified_order(TEN_CLASSES, 3)[:size]], minlength=10)
    assert counts.max() - counts.min() <= 1


@settings(deadline=None)
@given(label_lists, st.floats(0.01, 0.5), st.integers(1, 100), st.integers(0, 1000))
def test_the_holdout_takes_from_every_class_and_leaves_something_to_learn_from(labels_N, fraction, maximum, seed):
    fit, held = holdout(labels_N, fraction=fraction, maximum=maximum, seed=seed)
    assert torch.equal(torch.cat([fit, held]).sort().values, torch.arange(len(labels_N)))
    assert torch.equal(fit, fit.sort().values)
    assert torch.equal(held, held.sort().values)
    assert len(held) <= maximum
    counts = torch.bincount(labels_N)
    divisible = int((counts > 1).sum())
    assert bool((torch.bincount(labels_N[fit], minlength=len(counts))[counts > 0] >= 1).all())
    if maximum >= divisible:
        assert bool((torch.bincount(labels_N[held], minlength=len(counts))[counts > 1] >= 1).all())


def test_the_holdout_is_the_same_for_the_same_seed_only():
    first = holdout(TEN_CLASSES, fraction=0.1, maximum=1000, seed=0)[1]
    assert torch.equal(holdout(TEN_CLASSES, fraction=0.1, maximum=1000, seed=0)[1], first)
    assert not torch.equal(holdout(TEN_CLASSES, fraction=0.1, maximum=1000, seed=1)[1], first)


def test_the_holdout_keeps_the_proportions_of_the_classes():
    labels_N = torch.repeat_interleave(torch.arange(3), torch.tensor([700, 200, 100]))
    held = holdout(labels_N, fraction=0.1, maximum=1000, seed=0)[1]
    assert torch.bincount(labels_N[held]).tolist() == pytest.approx([70, 20, 10], abs=1)


def test_the_holdout_never_exceeds_its_maximum():
    assert len(holdout(TEN_CLASSES, fraction=0.5, maximum=37, seed=0)[1]) == 37


def test_a_subset_is_balanced_ascending_and_contains_smaller_ones():
    small, large = (subset(TEN_CLASSES, size, split="train") for size in (100, 500))
    assert torch.bincount(TEN_CLASSES[small]).tolist() == [10] * 10
    assert torch.equal(large, large.sort().values)
    assert set(small.tolist()) < set(large.tolist())


def test_no_number_means_the_whole_set():
    assert torch.equal(subset(TEN_CLASSES, None, split="train"), torch.arange(1000))


@pytest.mark.parametrize("size", [9, 1001, 0, -1, 50.0, "50", True])
def test_an_impossible_subset_names_its_option(size):
    with pytest.raises(FactoryError, match=r"option test_samples: .* from 10 \(one per class\) to 1000"):
        subset(TEN_CLASSES, size, split="test")
