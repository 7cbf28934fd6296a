"""A split of a dataset, and batches of it.

Shapes: N samples of a split, B of a batch, C channels, H height, W width, K classes.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Self

import torch
from numpy.typing import NDArray
from torch import Tensor

from distilljob_core.softlabels.fingerprint import Fingerprint
from distilljob_trainer.data.augment import Augmentation
from distilljob_trainer.data.counters import Stream, stream_key

Inputs = Tensor | Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Normalization:
    """(x / 255 - mean) / std per channel, as torchvision's ToTensor and Normalize compute it."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __str__(self) -> str:
        return f"/ 255, mean {self.mean}, std {self.std}"

    def __call__(self, images_BCHW: Tensor) -> Tensor:
        """Float32 from uint8."""
        mean, std = (_channels(values, images_BCHW.device) for values in (self.mean, self.std))
        return images_BCHW.to(torch.float32).div_(255).sub_(mean).div_(std)


@dataclass(frozen=True, slots=True)
class InMemory:
    """A map-style dataset whose samples already lie in tensors; every built-in factory returns one.

    A user's factory may return one too, to have its uint8 images normalized and augmented in batches.
    """

    inputs: Inputs
    """[N, ...], or several such tensors by name."""
    labels_N: Tensor
    """int64 in 0..K-1."""
    classes: tuple[str, ...]
    """Names of the classes; empty: the numbers up to the greatest label."""
    normalization: Normalization | None = None
    """For uint8 images [N, C, H, W]; other inputs reach the network as they are."""
    augmentation: Augmentation | None = None
    """For uint8 images [N, C, H, W]; training batches only."""

    def __len__(self) -> int:
        return len(self.labels_N)

    def __getitem__(self, index: int) -> tuple[Tensor | dict[str, Tensor], int]:
        return _pick(self.inputs, index), int(self.labels_N[index])


@dataclass(frozen=True, slots=True)
class Split(ABC):
    """The training or the test set; a sample's id is its position, 0..N-1."""

    labels_N: Tensor
    """On the device where batches are made."""
    normalization: Normalization | None

    @property
    def num_samples(self) -> int:
        """N."""
        return len(self.labels_N)

    @property
    def device(self) -> torch.device:
        """Where batches are made."""
        return self.labels_N.device

    @property
    def preprocessing(self) -> str:
        """What a network sees of a sample, in words; part of the fingerprint."""
        return f"{self.layout} {self.normalization or 'as it is'}"

    def batches(self, ids: Sequence[Tensor], key: int | None = None) -> Iterator[tuple[Inputs, Tensor]]:
        """Inputs and labels [B] of one batch after the other, normalized, on the split's device.

        Args:
            ids: of every batch, int64 [B].
            key: of the augmentation's draws, together with the sample's id; None: samples as they are.
        """
        for ids_B, raw in zip(ids, self.raw(ids, key), strict=True):
            inputs = raw if self.normalization is None else self.normalization(_image_batch(raw))
            yield inputs, self.labels_N[ids_B.to(self.device, non_blocking=True)]

    def batch(self, ids_B: Tensor) -> tuple[Inputs, Tensor]:
        """Inputs and labels [B] of these ids, normalized, not augmented, on the split's device."""
        return next(self.batches([ids_B]))

    @property
    @abstractmethod
    def layout(self) -> str:
        """Type and shape of a sample, in words."""

    @abstractmethod
    def raw(self, ids: Sequence[Tensor], key: int | None) -> Iterator[Inputs]:
        """Inputs of one batch after the other on the split's device, augmented if they are to be, not normalized."""

    @abstractmethod
    def contents(self) -> Iterator[bytes | NDArray[Any]]:
        """What tells one sample from another, in the order of ids."""

    @abstractmethod
    def to(self, device: torch.device) -> Self:
        """The same split on another device."""


@dataclass(frozen=True, slots=True)
class MemorySplit(Split):
    """All samples lie in tensors on the device where batches are made."""

    inputs: Inputs
    augmentation: Augmentation | None = None

    @property
    def layout(self) -> str:
        """Type and shape of a sample, in words."""
        return describe(self.inputs)

    def raw(self, ids: Sequence[Tensor], key: int | None) -> Iterator[Inputs]:
        """Pick samples; each is augmented alike in any batch and on any device."""
        for ids_B in ids:
            ids_B = ids_B.to(self.device, non_blocking=True)
            picked = _pick(self.inputs, ids_B)
            if key is None or self.augmentation is None:
                yield picked
            else:
                yield self.augmentation(_image_batch(picked), ids_B, key)

    def contents(self) -> Iterator[bytes | NDArray[Any]]:
        """Samples as they lie in memory."""
        return sample_bytes(self.inputs)

    def to(self, device: torch.device) -> Self:
        """The same split on another device."""
        return replace(self, inputs=moved(self.inputs, device), labels_N=self.labels_N.to(device))


@dataclass(frozen=True, slots=True)
class Data:
    """Everything a student learns from and is judged by."""

    train: Split
    test: Split
    fit_ids_N: Tensor
    """Ids of the training set that gradient steps see, ascending, on the CPU."""
    holdout_ids_N: Tensor
    """Ids of the training set that weigh and select the students, ascending, on the CPU."""
    class_names: tuple[str, ...]
    train_fingerprint: Fingerprint
    evaluation_fingerprint: Fingerprint

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)

    @property
    def preprocessing(self) -> str:
        """What a network sees of a sample, in words; augmentation is not part of it."""
        return self.train.preprocessing

    def training_batches(
        self, ids: Sequence[Tensor], *, cycle: int, epoch: int, seed: int
    ) -> Iterator[tuple[Inputs, Tensor]]:
        """Inputs and labels [B] of one batch of training samples after the other, augmented and normalized.

        A sample's augmentation is a function of (seed, cycle, epoch, id): the same in any batch, on any device.
        """
        return self.train.batches(ids, stream_key(Stream.AUGMENTATION, seed, cycle, epoch))

    def to(self, device: torch.device) -> "Data":
        """The same data with both splits on another device."""
        return replace(self, train=self.train.to(device), test=self.test.to(device))


def num_batches(num_samples: int, batch_size: int) -> int:
    """Steps of an epoch. The last batch may be short, but a single sample left over waits for another epoch.

    BatchNorm has no variance for one sample, so a last batch of one is dropped unless every batch is one.
    """
    full, rest = divmod(num_samples, batch_size)
    return full + (rest >= 2)


def are_images(inputs: Inputs) -> bool:
    """Tell uint8 images [N, C, H, W], which may be normalized and augmented in batches, from other inputs."""
    return isinstance(inputs, Tensor) and inputs.dtype == torch.uint8 and inputs.ndim == 4


def scaled(inputs: Inputs) -> Normalization | None:
    """Give what images are scaled to 0..1 by when nobody says more; None for other inputs."""
    return Normalization((0.0,), (1.0,)) if are_images(inputs) else None


def sample_bytes(inputs: Inputs) -> Iterator[bytes | NDArray[Any]]:
    """Give the content of one sample after the other."""
    if isinstance(inputs, Tensor):
        return iter(inputs.numpy())
    arrays = [tensor.numpy() for _, tensor in sorted(inputs.items())]
    return (b"".join(array.tobytes() for array in sample) for sample in zip(*arrays, strict=True))


def describe(inputs: Inputs) -> str:
    """Say type and shape of a sample."""
    if isinstance(inputs, Tensor):
        return f"{str(inputs.dtype).removeprefix('torch.')} {list(inputs.shape[1:])}"
    return "; ".join(f"{name}: {describe(tensor)}" for name, tensor in sorted(inputs.items()))


def moved(inputs: Inputs, device: torch.device) -> Inputs:
    """Bring inputs to a device."""
    if isinstance(inputs, Tensor):
        return inputs.to(device, non_blocking=True)
    return {name: tensor.to(device, non_blocking=True) for name, tensor in inputs.items()}


def _pick(inputs: Inputs, index: int | Tensor) -> Tensor | dict[str, Tensor]:
    if isinstance(inputs, Tensor):
        return inputs[index]
    return {name: tensor[index] for name, tensor in inputs.items()}


def _image_batch(inputs: Inputs) -> Tensor:
    assert isinstance(inputs, Tensor), "only single image tensors are normalized or augmented"
    return inputs


@cache
def _channels(values: tuple[float, ...], device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=device)[:, None, None]
