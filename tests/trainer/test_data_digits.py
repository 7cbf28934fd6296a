from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_digits

from distilljob_core.errors import FactoryError
from distilljob_trainer import data
from distilljob_trainer.data.counters import Stream, stream_key
from distilljob_trainer.data.stratify import stratified_order


def load(options=None, **arguments):
    arguments = {
        "download": "Never",
        "augmentation": "Default",
        "holdout_fraction": 0.1,
        "holdout_maximum": 1000,
        "seed": 0,
        "num_workers": 0,
    } | arguments
    return data.load("digits", options or {}, Path("unused"), **arguments)


def test_digits_split_1000_for_training_and_the_rest_for_testing():
    digits = load()
    assert (digits.train.num_samples, digits.test.num_samples, digits.num_classes) == (1000, 797, 10)
    assert (len(digits.fit_ids_N), len(digits.holdout_ids_N)) == (900, 100)
    assert digits.train.inputs.shape == (1000, 1, 8, 8)
    assert digits.train.inputs.dtype == torch.float32
    assert digits.train.inputs.min() == 0
    assert digits.train.inputs.max() == 1
    assert digits.class_names == tuple("0123456789")


def test_digits_are_those_that_scikit_learn_loads_in_their_order():
    pixels, labels = load_digits(return_X_y=True)
    order_N = stratified_order(torch.from_numpy(labels), stream_key(Stream.SUBSET))
    digits = load()
    ours_NCHW = torch.cat([digits.train.inputs, digits.test.inputs])
    assert torch.equal(ours_NCHW.flatten(1) * 16, torch.from_numpy(pixels).float()[order_N])
    assert torch.equal(torch.cat([digits.train.labels_N, digits.test.labels_N]), torch.from_numpy(labels)[order_N])


def test_training_and_test_digits_are_together_the_whole_set():
    def rows(splits):
        return sorted(tuple(row) for split in splits for row in split.inputs.flatten(1).tolist())

    small, large = load({"train_samples": 300}), load()
    assert rows([small.train, small.test]) == rows([large.train, large.test])
    assert len(rows([small.train, small.test])) == 1797


def test_a_smaller_training_set_of_digits_is_the_beginning_of_a_larger_one_and_balanced():
    small, large = load({"train_samples": 300}), load()
    assert torch.equal(small.train.inputs, large.train.inputs[:300])
    counts = torch.bincount(small.train.labels_N)
    assert counts.min() >= 29
    assert counts.max() <= 31


def test_digits_are_not_augmented():
    digits = load()
    x, y_B = next(digits.training_batches([digits.fit_ids_N[:32]], cycle=1, epoch=3, seed=5))
    plain, labels_B = digits.train.batch(digits.fit_ids_N[:32])
    assert torch.equal(x, plain)
    assert torch.equal(y_B, labels_B)


@pytest.mark.parametrize("train_samples", [5, 1788, 100.0, True, "100"])
def test_an_impossible_number_of_training_digits_is_refused(train_samples):
    with pytest.raises(FactoryError, match=r"train_samples: .* not an integer from 10"):
        load({"train_samples": train_samples})


def test_an_unknown_option_is_named_with_the_dataset():
    with pytest.raises(FactoryError, match=r"dataset 'digits' takes no option 'samples'"):
        load({"samples": 10})


def test_digits_have_a_fingerprint_that_does_not_depend_on_the_seed_of_the_holdout():
    first, again, smaller = load(), load(seed=1), load({"train_samples": 999})
    assert first.train_fingerprint == again.train_fingerprint
    assert first.evaluation_fingerprint == again.evaluation_fingerprint
    assert first.train_fingerprint != smaller.train_fingerprint
    assert first.train_fingerprint.num_rows == 1000
    assert not torch.equal(first.holdout_ids_N, again.holdout_ids_N)
