"""Random numbers that depend on counters alone: any sample's draw can be made again, in any batch, on any device.

SplitMix64 (Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators") on wrapping int64 tensors.
Shapes: N samples of a split, B of a batch.
"""

import random
from enum import IntEnum
from typing import Final

import numpy as np
import torch
from torch import Tensor

_MASK: Final = (1 << 64) - 1
_GOLDEN: Final = 0x9E3779B97F4A7C15
_MULTIPLIERS: Final = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_SHIFTS: Final = (30, 27, 31)


class Stream(IntEnum):
    """What a draw is for; equal counters in two streams are unrelated."""

    PERMUTATION = 1
    AUGMENTATION = 2
    HOLDOUT = 3
    SUBSET = 4
    STEP = 5
    WEIGHTS = 6
    PREDICTION = 7


def stream_key(stream: Stream, *counters: int) -> int:
    """Fold a stream and its counters (seed, cycle, epoch) into one 64-bit key."""
    key = 0
    for counter in (stream, *counters):
        key = _mix(((key ^ (counter & _MASK)) + _GOLDEN) & _MASK)
    return key


def seed_generators(key: int) -> None:
    """Seed the global generators of torch, Python and NumPy: a user's network may draw from any of them."""
    torch.manual_seed(key)
    seed_cpu_generators(key)


def seed_cpu_generators(key: int) -> None:
    """Seed those that draw on the CPU: enough for a dataset, and much faster, as it is done for every sample."""
    key &= _MASK
    torch.default_generator.manual_seed(key)
    random.seed(key)
    np.random.seed([key >> 32, key & 0xFFFF_FFFF])


def hashes(key: int, ids_B: Tensor) -> Tensor:
    """64 random bits for every id as int64 [B], on the device of the ids: output id + 1 of SplitMix64 from `key`."""
    x_B = (ids_B + 1) * _signed(_GOLDEN) + _signed(key)
    x_B = (x_B ^ _shift(x_B, _SHIFTS[0])) * _signed(_MULTIPLIERS[0])
    x_B = (x_B ^ _shift(x_B, _SHIFTS[1])) * _signed(_MULTIPLIERS[1])
    return x_B ^ _shift(x_B, _SHIFTS[2])


def permutation(num_samples: int, *, seed: int, epoch: int) -> Tensor:
    """Order of 0..N-1 for one epoch, int64 [N]; a function of N, seed and epoch alone."""
    return shuffled(num_samples, stream_key(Stream.PERMUTATION, seed, epoch))


def shuffled(num_samples: int, key: int) -> Tensor:
    """0..N-1 sorted by their hashes."""
    return torch.argsort(hashes(key, torch.arange(num_samples)), stable=True)


def _mix(x: int) -> int:
    x = ((x ^ (x >> _SHIFTS[0])) * _MULTIPLIERS[0]) & _MASK
    x = ((x ^ (x >> _SHIFTS[1])) * _MULTIPLIERS[1]) & _MASK
    return x ^ (x >> _SHIFTS[2])


def _shift(x_B: Tensor, bits: int) -> Tensor:
    """Logical right shift; int64's own copies the sign."""
    return (x_B >> bits) & ((1 << (64 - bits)) - 1)


def _signed(x: int) -> int:
    return x - (1 << 64) if x >> 63 else x
