import random

import pytest
import torch

from distilljob_trainer.data import Augmentation, num_batches, permutation
from distilljob_trainer.data.counters import Stream, hashes, stream_key


def unsigned(x_B):
    return [int(x) % (1 << 64) for x in x_B]


def test_hashes_are_the_published_outputs_of_splitmix64():
    published = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert unsigned(hashes(1234567, torch.arange(5))) == published


def test_a_hash_depends_on_its_id_alone():
    ids = torch.tensor([7, 0, 123_456_789, 3, 7])
    together = hashes(99, ids)
    alone = torch.cat([hashes(99, ids[i : i + 1]) for i in range(5)])
    assert torch.equal(together, alone)
    assert len(set(unsigned(together))) == 4


def test_every_counter_and_the_stream_change_the_key():
    keys = {
        stream_key(stream, seed, cycle, epoch)
        for stream in Stream
        for seed in (0, 1, -1, 1 << 40)
        for cycle in range(4)
        for epoch in range(4)
    }
    assert len(keys) == len(Stream) * 4 * 4 * 4


def test_a_permutation_holds_every_id_once_and_changes_with_seed_and_epoch():
    orders = [permutation(1000, seed=seed, epoch=epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0), (1, 1))]
    for order in orders:
        assert torch.equal(order.sort().values, torch.arange(1000))
    assert len({tuple(order.tolist()) for order in orders}) == 4


def test_a_permutation_ignores_and_leaves_the_global_random_state():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = permutation(500, seed=3, epoch=2)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(permutation(500, seed=3, epoch=2), first)


def test_the_permutation_never_changes_between_releases():
    assert permutation(10, seed=0, epoch=1).tolist() == [0, 9, 5, 4, 8, 6, 2, 3, 1, 7]


@pytest.mark.parametrize(
    ("num_samples", "batch_size", "wanted"),
    [(128, 32, 4), (129, 32, 4), (130, 32, 5), (159, 32, 5), (31, 32, 1), (2, 32, 1), (1, 32, 0), (3, 1, 3), (0, 8, 0)],
)
def test_a_last_batch_is_kept_unless_it_is_a_single_sample(num_samples, batch_size, wanted):
    assert num_batches(num_samples, batch_size) == wanted


IMAGES = torch.randint(0, 256, (64, 3, 12, 10), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
IDS = torch.arange(64)


def reference(image, sample_id, key, padding, flip):
    """The definition for one image, in plain Python."""
    bits = int(hashes(key, torch.tensor([sample_id]))) % (1 << 64)
    row, column = (((bits >> shift) % (1 << 21)) * (2 * padding + 1) >> 21 for shift in (0, 21))
    channels, height, width = image.shape
    padded = torch.zeros(channels, height + 2 * padding, width + 2 * padding, dtype=torch.uint8)
    padded[:, padding : padding + height, padding : padding + width] = image
    crop = padded[:, row : row + height, column : column + width]
    return crop.flip(-1) if flip and bits >> 63 else crop


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("padding", [0, 1, 4])
def test_batched_augmentation_equals_one_image_at_a_time(padding, flip):
    batch = Augmentation(padding, flip)(IMAGES, IDS, 17)
    for sample_id in range(64):
        assert torch.equal(batch[sample_id], reference(IMAGES[sample_id], sample_id, 17, padding, flip))


def test_augmentation_depends_on_the_id_not_on_batch_or_order():
    augment = Augmentation(4, flip=True)
    whole = augment(IMAGES, IDS, 5)
    order = list(range(64))
    random.Random(0).shuffle(order)
    for part in torch.tensor(order).split(7):
        assert torch.equal(augment(IMAGES[part], part, 5), whole[part])


def test_augmentation_draws_every_place_and_flips_every_second_image():
    height, width, padding = 4, 4, 2
    places = torch.arange(1, 17, dtype=torch.uint8).reshape(1, 1, height, width).expand(20_000, 1, height, width)
    augmented = Augmentation(padding, flip=True)(places, torch.arange(20_000), stream_key(Stream.AUGMENTATION, 0, 1, 2))
    kinds, counts = torch.unique(augmented.flatten(1), dim=0, return_counts=True)
    assert len(kinds) == 2 * 5 * 5
    assert counts.min() > 20_000 / 50 * 0.75
    assert counts.max() < 20_000 / 50 * 1.25
