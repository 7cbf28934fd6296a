"""Streamed samples: the same batches as from memory, whoever reads them and wherever a pass begins."""

import multiprocessing
import pickle
import sys
import textwrap
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from distilljob_core.errors import DataError, DistillJobError, FactoryError
from distilljob_trainer import data
from distilljob_trainer.data.registry import read_split

SIZE = 8
COUNTERS = {"cycle": 1, "epoch": 2, "seed": 3}


@pytest.fixture
def images(tmp_path):
    """{train,test}/{ant,bee,cat}/00.png ...: noise with a hint of the class."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 24), ("test", 6)):
        for label, name in enumerate(("ant", "bee", "cat")):
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(0, 200, (SIZE + index % 3, SIZE + 2, 3), dtype=np.uint8)
                pixels[..., label] += 50
                Image.fromarray(pixels).save(folder / f"{index:02}.png")
    return tmp_path / "images"


@pytest.fixture
def load(images):
    """Load the images."""

    def make(name="image_folder", *, stream=True, augmentation="Default", num_workers=0, **options):
        if name == "image_folder":
            options |= {"size": SIZE, "stream": stream}
        return data.load(
            name,
            options,
            images,
            download="Never",
            augmentation=augmentation,
            holdout_fraction=0.25,
            holdout_maximum=1000,
            seed=0,
            num_workers=num_workers,
        )

    return make


@pytest.fixture
def users_stream(monkeypatch, load):
    """Load what a user's factory makes of the given keyword arguments of Streamed."""

    def make(num_workers=0, augmentation="Default", **parts):
        parts = {"samples": ROWS, "labels": [i % 2 for i in range(12)]} | parts
        monkeypatch.setitem(sys.modules, "my_sets", SimpleNamespace(make=lambda split, root: data.Streamed(**parts)))
        return load("my_sets:make", num_workers=num_workers, augmentation=augmentation)

    return make


@pytest.fixture
def started():
    """Give the workers that this test has started."""
    before = set(multiprocessing.active_children())
    return lambda: set(multiprocessing.active_children()) - before


class Samples(list):
    """A map-style dataset of what it was given."""


class Drawing(Samples):
    """Adds draws from all three global generators."""

    def __getitem__(self, index):
        import random

        x, y = super().__getitem__(index)
        return x + torch.rand(()) + random.random() + np.random.rand(), y


ROWS = Samples([(torch.full((2,), float(i)), i % 2) for i in range(12)])


def all_batches(loaded, ids, **counters):
    return [x for x, _ in loaded.training_batches(ids, **(COUNTERS | counters))]


def same(ours, theirs):
    return len(ours) == len(theirs) and all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_stream_gives_the_weights_of_the_same_images_in_memory(group, images):
    """Without augmentation, which differs; with and without workers."""
    outcomes = []
    for stream, workers in ((False, None), (True, 0), (True, 2)):
        job = group(
            images,
            dataset={"name": "image_folder", "options": {"train_samples": 72, "size": SIZE, "stream": stream}},
            training={"augmentation": "Disabled", "dataLoaderWorkers": workers},
            students=[{"name": "net", "gpus": 0, "model": {"name": "vgg_mini"}}],
        )
        job.events()
        outcomes.append(job.weights())
    assert outcomes[0] == outcomes[1] == outcomes[2]


def test_workers_change_nothing_but_the_time(load):
    ids = torch.arange(72).split(7)
    expected = all_batches(load(num_workers=0), ids)
    assert same(all_batches(load(num_workers=1), ids), expected)
    assert same(all_batches(load(num_workers=2), ids), expected)


def test_augmentation_is_a_function_of_seed_cycle_epoch_and_id(load):
    loaded, ids = load(), torch.arange(12)
    first = all_batches(loaded, [ids])[0]
    assert (first.shape, first.dtype) == ((12, 3, SIZE, SIZE), torch.float32)
    alone = torch.cat(all_batches(loaded, ids.flip(0).split(1))).flip(0)
    assert torch.equal(alone, first)
    for other in ({"cycle": 2}, {"epoch": 3}, {"seed": 4}):
        assert not torch.equal(all_batches(loaded, [ids], **other)[0], first)
    assert not torch.equal(loaded.train.batch(ids)[0], first)
    plain = load(augmentation="Disabled")
    assert torch.equal(all_batches(plain, [ids])[0], plain.train.batch(ids)[0])


def test_a_pass_may_begin_anywhere_and_be_left_anywhere(load):
    loaded, ids = load(num_workers=2), torch.randperm(72, generator=torch.Generator().manual_seed(0)).split(6)
    whole = all_batches(loaded, ids)
    left = loaded.training_batches(ids, **COUNTERS)
    assert torch.equal(next(left)[0], whole[0])
    assert same(all_batches(loaded, ids[5:]), whole[5:])
    with pytest.raises(AssertionError, match="one pass at a time"):
        next(left)


def test_both_splits_share_their_workers(load, started):
    loaded = load(num_workers=1)
    x, y_B = loaded.train.batch(torch.tensor([0, 71]))
    assert y_B.tolist() == [0, 2]
    t, y_B = loaded.test.batch(torch.tensor([17]))
    assert y_B.tolist() == [2]
    assert not torch.equal(x[1], t[0])
    assert len(started()) == 1


@pytest.mark.parametrize(
    ("given", "own", "expected"),
    [(None, {}, 2), (1, {}, 1), (0, {"dataLoaderWorkers": 1}, 1), (1, {"dataLoaderWorkers": 0}, 0)],
)
def test_a_student_has_the_workers_it_asks_for_or_one_for_each_of_its_cpus(
    group, images, started, monkeypatch, given, own, expected
):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    student = {"name": "net", "gpus": 0, "model": {"name": "vgg_mini"}, "training": own}
    job = group(
        images,
        dataset={"name": "image_folder", "options": {"train_samples": 72, "size": SIZE, "stream": True}},
        training={"dataLoaderWorkers": given},
        students=[student],
    )
    job.data.train.batch(torch.arange(2))
    assert len(started()) == expected


def test_memory_and_stream_read_the_same_pixels(load):
    memory, stream = load(stream=False), load()
    for split in ("train", "test"):
        ids = torch.arange(getattr(memory, split).num_samples)
        ours, theirs = getattr(stream, split).batch(ids), getattr(memory, split).batch(ids)
        assert torch.equal(ours[0], theirs[0])
        assert torch.equal(ours[1], theirs[1])
    assert memory.preprocessing == stream.preprocessing
    assert torch.equal(memory.holdout_ids_N, stream.holdout_ids_N)


def test_a_streams_fingerprint_covers_files_and_labels(load, images):
    before = load()
    assert load().train_fingerprint == before.train_fingerprint
    path = images / "train/ant/05.png"
    Image.open(path).rotate(90).save(path)
    after = load()
    assert after.train_fingerprint != before.train_fingerprint
    assert after.evaluation_fingerprint == before.evaluation_fingerprint


def test_stream_needs_a_size(images):
    with pytest.raises(FactoryError, match="dataset option stream: needs the option size"):
        read_split("image_folder", "train", images, {"stream": True})


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_image_damaged_while_training_is_named(load, images, num_workers):
    loaded = load(num_workers=num_workers)
    ids = torch.arange(72).split(4)
    (images / "train/bee/03.png").write_bytes(b"\x89PNG, but not really")
    batches = loaded.training_batches(ids, **COUNTERS)
    for _ in range(6):
        next(batches)
    with pytest.raises(DataError, match=r"^\S*train/bee/03.png: not a readable image: .*replace or remove the file$"):
        next(batches)


def test_a_worker_that_dies_is_told_with_what_to_do(load, started):
    loaded = load(num_workers=1)
    batches = loaded.training_batches(torch.arange(72).split(2), **COUNTERS)
    next(batches)
    (worker,) = started()
    worker.kill()
    with pytest.raises(DistillJobError, match=r"a worker died at or before the train samples \d+ to \d+.*dataLoader"):
        list(batches)


def test_a_users_stream_draws_from_seeded_generators(users_stream):
    loaded, ids = users_stream(augmented=Drawing(ROWS)), torch.arange(12)
    first = all_batches(loaded, [ids])[0]
    torch.manual_seed(99)
    assert torch.equal(torch.cat(all_batches(loaded, ids.split(5))), first)
    assert len((first - ids[:, None]).unique()) == 12
    assert torch.equal(loaded.train.batch(ids)[0], torch.stack([x for x, _ in ROWS]))
    assert torch.equal(all_batches(users_stream(augmented=Drawing(ROWS), augmentation="Disabled"), [ids])[0][:, 0], ids)


def test_without_content_every_sample_is_read_for_the_fingerprint(users_stream):
    other = Samples(ROWS)
    other[11] = (torch.ones(2), 1)
    assert users_stream().train_fingerprint == users_stream().train_fingerprint
    assert users_stream(samples=other).train_fingerprint != users_stream().train_fingerprint


def test_a_users_uint8_images_are_scaled_and_dictionaries_arrive_as_such(users_stream):
    pixels = Samples([(torch.full((3, 2, 2), 255, dtype=torch.uint8), i % 2) for i in range(12)])
    assert torch.equal(users_stream(samples=pixels).train.batch(torch.arange(2))[0], torch.ones(2, 3, 2, 2))
    named = Samples([({"a": x.double(), "b": x.long()}, y) for x, y in ROWS])
    x, _ = users_stream(samples=named).train.batch(torch.tensor([3]))
    assert (x["a"].dtype, x["b"].tolist()) == (torch.float32, [[3, 3]])


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        pytest.param({"samples": Samples()}, "its split 'train' is empty", id="empty"),
        pytest.param(
            {"labels": [0, 1]}, r"Streamed.labels .*\[2\]; they must be one integer for each of the 12", id="few"
        ),
        pytest.param({"labels": [0.5] * 12}, r"are torch.float32 \[12\]; they must be one integer", id="floats"),
        pytest.param({"labels": [0] * 6 + [1] * 6}, "sample 1 has the label 1, Streamed.labels has 0", id="other"),
        pytest.param({"samples": Samples([*ROWS[:11], (torch.ones(3), 1)])}, "sample 11 is a tensor .3.", id="shape"),
        pytest.param({"samples": Samples([0] * 12)}, "sample 0 is a int", id="no-sample"),
    ],
)
def test_a_stream_that_is_not_what_it_must_be_is_described(users_stream, parts, message):
    with pytest.raises(FactoryError, match=message) as caught:
        users_stream(**parts)
    assert "'my_sets:make'" in str(caught.value)


def test_what_cannot_be_sent_to_workers_is_said(users_stream):
    rows = Samples(ROWS)
    rows.transform = lambda x: x
    with pytest.raises(FactoryError, match=r"cannot be sent to worker processes: .*dataLoaderWorkers to 0"):
        users_stream(samples=rows, num_workers=1)


def test_an_error_in_a_users_dataset_comes_out_of_a_worker_in_its_own_words(load, tmp_path, monkeypatch):
    (tmp_path / "rows_of_mine.py").write_text(
        textwrap.dedent("""
        import torch
        from distilljob_trainer.data import Streamed

        class Rows:
            def __len__(self):
                return 12

            def __getitem__(self, index):
                if index == 7:
                    raise ValueError("row 7 has no color")
                return torch.ones(2), index % 2

        def make(split, root):
            return Streamed(Rows(), [i % 2 for i in range(12)], content=lambda_free)

        def lambda_free(index):
            return bytes([index])
        """)
    )
    monkeypatch.syspath_prepend(tmp_path)
    loaded = load("rows_of_mine:make", num_workers=1)
    with pytest.raises(FactoryError) as caught:
        loaded.train.batch(torch.arange(12))
    assert str(caught.value) == "dataset 'rows_of_mine:make': sample 7 raised ValueError: row 7 has no color"
    assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args
