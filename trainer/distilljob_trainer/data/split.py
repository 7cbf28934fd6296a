"""A dataset in memory, and batches of it.

Shapes: N samples of a split, B of a batch, C channels, H height, W width, K classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

import torch
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
class Split:
    """The training or the test set on one device; a sample's id is its position, 0..N-1."""

    inputs: Inputs
    labels_N: Tensor
    normalization: Normalization | None

    @property
    def num_samples(self) -> int:
        """N."""
        return len(self.labels_N)

    @property
    def device(self) -> torch.device:
        """Where the samples lie and the batches are made."""
        return self.labels_N.device

    @property
    def preprocessing(self) -> str:
        """What a network sees of a sample, in words; part of the fingerprint."""
        if isinstance(self.inputs, Tensor):
            text = _describe(self.inputs)
        else:
            text = "; ".join(f"{name}: {_describe(tensor)}" for name, tensor in sorted(self.inputs.items()))
        return f"{text} {self.normalization or 'as it is'}"

    def batch(self, ids_B: Tensor) -> tuple[Inputs, Tensor]:
        """Inputs and labels [B] of these ids, normalized, not augmented, on the split's device."""
        ids_B = ids_B.to(self.device, non_blocking=True)
        return self.normalized(_pick(self.inputs, ids_B)), self.labels_N[ids_B]

    def normalized(self, inputs: Inputs) -> Inputs:
        """What the network is given for these raw inputs."""
        return inputs if self.normalization is None else self.normalization(_images(inputs))

    def to(self, device: torch.device) -> "Split":
        """The same split on another device."""
        inputs = self.inputs
        moved = (
            inputs.to(device)
            if isinstance(inputs, Tensor)
            else {name: tensor.to(device) for name, tensor in inputs.items()}
        )
        return replace(self, inputs=moved, labels_N=self.labels_N.to(device))


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
    augmentation: Augmentation | None
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

    def training_batch(self, ids_B: Tensor, *, cycle: int, epoch: int, seed: int) -> tuple[Inputs, Tensor]:
        """Inputs and labels [B] of training samples, augmented and normalized.

        A sample's augmentation is a function of (seed, cycle, epoch, id): the same in any batch, on any device.
        """
        if self.augmentation is None:
            return self.train.batch(ids_B)
        ids_B = ids_B.to(self.train.device, non_blocking=True)
        images_BCHW = _images(_pick(self.train.inputs, ids_B))
        images_BCHW = self.augmentation(images_BCHW, ids_B, stream_key(Stream.AUGMENTATION, seed, cycle, epoch))
        return self.train.normalized(images_BCHW), self.train.labels_N[ids_B]

    def to(self, device: torch.device) -> "Data":
        """The same data with both splits on another device."""
        return replace(self, train=self.train.to(device), test=self.test.to(device))


def num_batches(num_samples: int, batch_size: int) -> int:
    """Steps of an epoch. The last batch may be short, but a single sample left over waits for another epoch.

    BatchNorm has no variance for one sample, so a last batch of one is dropped unless every batch is one.
    """
    full, rest = divmod(num_samples, batch_size)
    return full + (rest >= 2)


def _pick(inputs: Inputs, index: int | Tensor) -> Tensor | dict[str, Tensor]:
    if isinstance(inputs, Tensor):
        return inputs[index]
    return {name: tensor[index] for name, tensor in inputs.items()}


def _images(inputs: Inputs) -> Tensor:
    assert isinstance(inputs, Tensor), "only single image tensors are normalized or augmented"
    return inputs


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape[1:])}"


@cache
def _channels(values: tuple[float, ...], device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=device)[:, None, None]
