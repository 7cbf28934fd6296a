"""Reads a user's map-style dataset into memory once, looking at every sample.

Shapes: N samples of a split.
"""

from typing import cast

import torch
from torch import Tensor

from distilljob_core.errors import FactoryError
from distilljob_trainer.data.sample import SAMPLE, SINGLE, MapStyle, check_layout, layout, read_sample, room
from distilljob_trainer.data.split import InMemory, are_images, scaled


def into_memory(source: object, name: str) -> InMemory:
    """Read what a dataset factory returned; an InMemory passes through.

    Floating-point tensors become float32. Lone uint8 tensors [C, H, W] are images, scaled to 0..1 in each batch.
    Class names are the dataset's `classes` if it has any.

    Args:
        source: anything with `len()` and `[index] -> (Tensor | dict[str, Tensor], int)`.
        name: the factory's name for the text of errors.

    Raises:
        FactoryError: something else; the text names the factory, the sample and what was found.
    """
    if isinstance(source, InMemory):
        _check(source, name)
        return source
    if not (hasattr(source, "__len__") and hasattr(source, "__getitem__")):
        raise FactoryError(
            f"dataset {name!r} returned a {type(source).__name__}; it must return a map-style dataset, "
            f"len(dataset) and dataset[index] -> {SAMPLE}"
        )
    tensors, labels_N = _read(cast(MapStyle, source), name)
    inputs = tensors.get(SINGLE, tensors)
    classes = tuple(str(name) for name in getattr(source, "classes", ()))
    return InMemory(inputs, labels_N, classes, scaled(inputs))


def _check(source: InMemory, name: str) -> None:
    tensors = [source.inputs] if isinstance(source.inputs, Tensor) else source.inputs.values()
    lengths = {len(tensor) for tensor in tensors}
    if lengths != {len(source)} or len(source) == 0 or source.labels_N.dtype != torch.int64:
        raise FactoryError(
            f"dataset {name!r}: {len(source)} labels of {source.labels_N.dtype} for inputs of length "
            f"{sorted(lengths)}; every sample needs one int64 label, and there must be at least one"
        )
    if (source.normalization or source.augmentation) and not are_images(source.inputs):
        raise FactoryError(f"dataset {name!r}: only uint8 images [N, C, H, W] are normalized or augmented in batches")


def _read(dataset: MapStyle, name: str) -> tuple[dict[str, Tensor], Tensor]:
    num_samples = len(dataset)
    if num_samples == 0:
        raise FactoryError(f"dataset {name!r} is empty")
    first, _ = read_sample(dataset, 0, name)
    tensors, labels_N = room(first, num_samples), torch.empty(num_samples, dtype=torch.int64)
    for index in range(num_samples):
        x, labels_N[index] = read_sample(dataset, index, name)
        check_layout(x, layout(first), index, name)
        for key, tensor in x.items():
            tensors[key][index] = tensor
    return tensors, labels_N
