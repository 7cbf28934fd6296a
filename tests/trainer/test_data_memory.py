import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from distilljob_core.errors import DataError, FactoryError
from distilljob_trainer import data
from distilljob_trainer.data.memory import into_memory


class Samples(list):
    """A map-style dataset of what it was given."""


class Classified(Samples):
    classes = ("no", "yes")


def test_floating_point_samples_become_float32_and_reach_the_network_as_they_are():
    dataset = into_memory(
        Samples([(torch.full((2, 3), i / 7, dtype=torch.float64), i % 2) for i in range(5)]), "mine:f"
    )
    assert dataset.inputs.dtype == torch.float32
    assert dataset.inputs.shape == (5, 2, 3)
    assert dataset.labels_N.tolist() == [0, 1, 0, 1, 0]
    assert dataset.normalization is None
    assert dataset.augmentation is None


def test_byte_images_are_scaled_to_one():
    dataset = into_memory(Samples([(torch.full((3, 2, 2), 255, dtype=torch.uint8), 0)] * 2), "mine:f")
    assert dataset.inputs.dtype == torch.uint8
    assert torch.equal(dataset.normalization(dataset.inputs), torch.ones(2, 3, 2, 2))


def test_dictionaries_keep_names_and_integer_types():
    dataset = into_memory(
        Samples([({"tokens": torch.arange(4) + i, "mask": torch.ones(4, dtype=torch.bool)}, i) for i in range(3)]),
        "mine:f",
    )
    assert dataset.inputs["tokens"].dtype == torch.int64
    assert dataset.inputs["mask"].dtype == torch.bool
    assert dataset.inputs["tokens"][2].tolist() == [2, 3, 4, 5]


@pytest.mark.parametrize("label", [1, np.int64(1), torch.tensor(1), True])
def test_every_integer_is_a_label(label):
    assert into_memory(Samples([(torch.zeros(1), label)]), "mine:f").labels_N.tolist() == [1]


def test_class_names_come_from_the_dataset():
    assert into_memory(Classified([(torch.zeros(1), 1)]), "mine:f").classes == ("no", "yes")
    assert into_memory(Samples([(torch.zeros(1), 1)]), "mine:f").classes == ()


class Failing(Samples):
    def __getitem__(self, index):
        raise self.error


def failing(error):
    dataset = Failing([0])
    dataset.error = error
    return dataset


X = torch.zeros(3, 4)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        pytest.param(iter([]), "returned a list_iterator; it must return a map-style dataset", id="iterable"),
        pytest.param(None, "returned a NoneType", id="nothing"),
        pytest.param(Samples(), "is empty", id="empty"),
        pytest.param(Samples([X]), "sample 0 is a Tensor; it must be", id="no-label"),
        pytest.param(Samples([(X, 1, 2)]), "sample 0 is a tuple", id="three-parts"),
        pytest.param(Samples([(X, 1), (X.numpy(), 1)]), "sample 1 is a ndarray, not a tensor", id="array"),
        pytest.param(Samples([({"a": X, "b": 3}, 1)]), "input 'b' of sample 0 is a int", id="number-in-dictionary"),
        pytest.param(Samples([(X, 1), (X, 0.5)]), r"label of sample 1 is 0\.5; it must be an integer", id="label"),
        pytest.param(Samples([(X, "cat")]), "label of sample 0 is 'cat'", id="label-name"),
        pytest.param(
            Samples([(X, 1), (X[:2], 1)]),
            r"sample 1 is a tensor \[2, 4\] of torch.float32, sample 0 is a tensor \[3, 4\].*resize, crop or pad",
            id="shapes",
        ),
        pytest.param(Samples([(X, 1), (X.long(), 1)]), r"sample 1 is a tensor \[3, 4\] of torch.int64", id="types"),
        pytest.param(Samples([({"a": X}, 1), ({"b": X}, 1)]), "sample 1 is b .*sample 0 is a ", id="names"),
        pytest.param(failing(KeyError("row")), "sample 0 raised KeyError: 'row'", id="raises"),
    ],
)
def test_what_is_no_dataset_is_described(source, message):
    with pytest.raises(FactoryError, match=message) as caught:
        into_memory(source, "mine:dataset")
    assert "'mine:dataset'" in str(caught.value)


def test_an_error_of_our_own_tree_passes_through():
    with pytest.raises(DataError, match="images/7"):
        into_memory(failing(DataError("images/7.png does not decode")), "mine:dataset")


@pytest.fixture
def users_dataset(monkeypatch, tmp_path):
    """Loads a dataset whose factory is the given function, found by name like a user's."""

    def load(factory, options=None, augmentation="Default"):
        monkeypatch.setitem(sys.modules, "my_sets", SimpleNamespace(make=factory))
        return data.load(
            "my_sets:make",
            options or {},
            tmp_path,
            download="IfMissing",
            augmentation=augmentation,
            holdout_fraction=0.25,
            holdout_maximum=1000,
            seed=0,
            num_workers=0,
        )

    return load


def tokens(split, root, length=4):
    size = {"train": 40, "test": 12}[split]
    return Samples([({"tokens": torch.arange(length) + i, "weight": torch.rand(1)}, i % 3) for i in range(size)])


def test_a_users_dataset_is_loaded_with_its_options(users_dataset):
    loaded = users_dataset(tokens, {"length": 6})
    assert (loaded.train.num_samples, loaded.test.num_samples, loaded.num_classes) == (40, 12, 3)
    assert loaded.class_names == ("0", "1", "2")
    x, y_B = next(loaded.training_batches([torch.tensor([5, 2])], cycle=1, epoch=0, seed=0))
    assert x["tokens"].tolist() == [[5, 6, 7, 8, 9, 10], [2, 3, 4, 5, 6, 7]]
    assert y_B.tolist() == [2, 2]


def test_a_dataset_that_draws_anew_has_another_fingerprint(users_dataset):
    def still(split, root):
        torch.manual_seed(0)
        return tokens(split, root)

    assert users_dataset(still).train_fingerprint == users_dataset(still).train_fingerprint
    assert users_dataset(tokens).train_fingerprint != users_dataset(tokens).train_fingerprint


def test_the_fingerprint_covers_labels_contents_preprocessing_and_class_names(users_dataset):
    images = torch.arange(40 * 3 * 2 * 2).reshape(40, 3, 2, 2).to(torch.uint8)
    labels = torch.arange(40) % 2
    plain = data.Normalization((0.0,) * 3, (1.0,) * 3)

    def digest(images=images, labels=labels, classes=("a", "b"), normalization=plain):
        loaded = users_dataset(lambda split, root: data.InMemory(images, labels, classes, normalization))
        assert loaded.train_fingerprint == loaded.evaluation_fingerprint
        return loaded.train_fingerprint.digest

    changed = images.clone()
    changed[39, 2, 1, 1] += 1
    digests = [
        digest(),
        digest(images=changed),
        digest(images=images.flip(0)),
        digest(labels=1 - labels),
        digest(classes=("a", "c")),
        digest(normalization=data.Normalization((0.0,) * 3, (0.5,) * 3)),
    ]
    assert len(set(digests)) == len(digests)
    assert digest() == digests[0]


def test_augmentation_is_the_datasets_own_or_none(users_dataset):
    images = torch.randint(0, 256, (40, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    plain = data.Normalization((0.5,), (0.25,))

    def make(split, root):
        return data.InMemory(images, torch.arange(40) % 2, ("a", "b"), plain, data.Augmentation(2, flip=True))

    ids = torch.arange(40)
    augmented, disabled = users_dataset(make), users_dataset(make, augmentation="Disabled")
    first = next(augmented.training_batches([ids], cycle=1, epoch=2, seed=3))[0]
    assert first.dtype == torch.float32
    assert torch.equal(
        next(disabled.training_batches([ids], cycle=1, epoch=2, seed=3))[0], disabled.train.batch(ids)[0]
    )
    assert torch.equal(augmented.train.batch(ids)[0], (images / 255 - 0.5) / 0.25)
    assert augmented.train_fingerprint == disabled.train_fingerprint
    assert torch.equal(first[[4, 1]], next(augmented.training_batches([ids[[4, 1]]], cycle=1, epoch=2, seed=3))[0])
    for other in ({"cycle": 2}, {"epoch": 3}, {"seed": 4}):
        counters = {"cycle": 1, "epoch": 2, "seed": 3} | other
        assert not torch.equal(first, next(augmented.training_batches([ids], **counters))[0])


@pytest.mark.parametrize(
    ("inputs", "labels_N", "message"),
    [
        pytest.param(torch.zeros(4, 1, 8, 8), torch.arange(4), "only uint8 images", id="floats"),
        pytest.param({"x": torch.zeros(4)}, torch.arange(4), "only uint8 images", id="dictionary"),
        pytest.param(X.byte(), torch.arange(4), r"4 labels of torch.int64 for inputs of length \[3\]", id="length"),
        pytest.param(X.byte(), torch.zeros(3), "3 labels of torch.float32", id="label-type"),
        pytest.param(X.byte()[:0], torch.arange(0), "there must be at least one", id="empty"),
    ],
)
def test_tensors_that_do_not_fit_are_described(inputs, labels_N, message):
    with pytest.raises(FactoryError, match=message):
        into_memory(data.InMemory(inputs, labels_N, (), augmentation=data.Augmentation(1, flip=False)), "mine:dataset")


DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.mark.parametrize("device", DEVICES)
def test_batches_are_the_same_on_every_device(users_dataset, device):
    images = torch.randint(0, 256, (40, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    plain = data.Normalization((0.5,) * 3, (0.25,) * 3)

    def make(split, root):
        return data.InMemory(images, torch.arange(40) % 2, ("a", "b"), plain, data.Augmentation(4, flip=True))

    here = users_dataset(make)
    there = here.to(torch.device(device))
    ids = data.permutation(40, seed=1, epoch=2)
    x, y_B = next(there.training_batches([ids], cycle=1, epoch=2, seed=1))
    assert x.device.type == y_B.device.type == there.train.device.type == device
    assert torch.equal(x.cpu(), next(here.training_batches([ids], cycle=1, epoch=2, seed=1))[0])
    assert torch.equal(there.test.batch(ids)[1].cpu(), here.test.labels_N[ids])


@pytest.mark.parametrize("device", DEVICES)
def test_dictionaries_move_as_a_whole(users_dataset, device):
    x, y_B = users_dataset(tokens).to(torch.device(device)).train.batch(torch.tensor([3, 0]))
    assert {tensor.device.type for tensor in (*x.values(), y_B)} == {device}
    assert x["tokens"].tolist() == [[3, 4, 5, 6], [0, 1, 2, 3]]


def test_an_in_memory_dataset_is_map_style_itself():
    dataset = data.InMemory({"a": torch.arange(6).reshape(3, 2)}, torch.tensor([0, 1, 0]), ())
    x, y = dataset[1]
    assert (x["a"].tolist(), y, len(dataset)) == ([2, 3], 1, 3)


def test_preprocessing_says_what_a_network_sees(users_dataset):
    assert users_dataset(tokens).preprocessing == "tokens: int64 [4]; weight: float32 [1] as it is"
    halves = data.Normalization((0.5,) * 3, (0.25,) * 3)
    images = data.MemorySplit(torch.arange(1), halves, torch.zeros(1, 3, 8, 8).byte())
    assert images.preprocessing == "uint8 [3, 8, 8] / 255, mean (0.5, 0.5, 0.5), std (0.25, 0.25, 0.25)"
    assert str(data.Augmentation(4, flip=True)) == "pad 4, random crop, random horizontal flip"
    assert str(data.Augmentation(2, flip=False)) == "pad 2, random crop"


def by_split(train, test):
    return lambda split, root: {"train": train, "test": test}[split]


ROWS = Samples([(X, i % 2) for i in range(8)])


@pytest.mark.parametrize(
    ("factory", "error", "message"),
    [
        pytest.param(
            by_split(ROWS, Samples([(X[:2], 1)])), FactoryError, r"\[3, 4\].*\[2, 4\].*the two must agree", id="shapes"
        ),
        pytest.param(by_split(Classified(ROWS), ROWS), FactoryError, "has classes no, yes, the test", id="classes"),
        pytest.param(by_split(ROWS, Samples([(X, -1)])), FactoryError, "labels from -1 to 1", id="negative"),
        pytest.param(
            by_split(Classified([(X, 2)]), Classified([(X, 1)])), FactoryError, "from 1 to 2 and 2 classes", id="range"
        ),
        pytest.param(by_split(Samples([(X, 0)] * 9), ROWS[:1]), FactoryError, "1 classes.* at least two", id="one"),
        pytest.param(by_split(Samples([(X, 0), (X, 1)]), ROWS), DataError, "too few to fit some", id="tiny"),
        pytest.param(lambda split: ROWS, FactoryError, "cannot be called with options", id="arguments"),
        pytest.param(lambda split, root: 1 / 0, FactoryError, "raised ZeroDivisionError", id="raises"),
    ],
)
def test_splits_that_do_not_fit_are_described(users_dataset, factory, error, message):
    with pytest.raises(error, match=message) as caught:
        users_dataset(factory)
    assert "'my_sets:make'" in str(caught.value)


def test_an_unknown_dataset_lists_close_matches():
    with pytest.raises(FactoryError, match=r"no built-in dataset 'cifar_10'. Did you mean cifar10.*image_folder"):
        data.load(
            "cifar_10",
            {},
            None,
            download="IfMissing",
            augmentation="Default",
            holdout_fraction=0.1,
            holdout_maximum=10,
            seed=0,
            num_workers=0,
        )
