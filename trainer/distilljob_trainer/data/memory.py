"""Reads a user's map-style dataset into memory once, looking at every sample.

Shapes: N samples of a split.
"""

import operator
from collections.abc import Mapping
from typing import Final, Protocol, cast

import torch
from torch import Tensor

from distilljob_core.errors import DistillJobError, FactoryError
from distilljob_trainer.data.split import InMemory, Inputs, Normalization

SAMPLE: Final = "(tensor or dict of tensors, integer label)"
SINGLE: Final = ""  # the name of an input that is a lone tensor


class _MapStyle(Protocol):
    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> object: ...


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
    tensors, labels_N = _read(cast(_MapStyle, source), name)
    inputs = tensors.get(SINGLE, tensors)
    classes = tuple(str(name) for name in getattr(source, "classes", ()))
    return InMemory(inputs, labels_N, classes, Normalization((0.0,), (1.0,)) if _are_images(inputs) else None)


def _check(source: InMemory, name: str) -> None:
    tensors = [source.inputs] if isinstance(source.inputs, Tensor) else source.inputs.values()
    lengths = {len(tensor) for tensor in tensors}
    if lengths != {len(source)} or len(source) == 0 or source.labels_N.dtype != torch.int64:
        raise FactoryError(
            f"dataset {name!r}: {len(source)} labels of {source.labels_N.dtype} for inputs of length "
            f"{sorted(lengths)}; every sample needs one int64 label, and there must be at least one"
        )
    if (source.normalization or source.augmentation) and not _are_images(source.inputs):
        raise FactoryError(f"dataset {name!r}: only uint8 images [N, C, H, W] are normalized or augmented in batches")


def _are_images(inputs: Inputs) -> bool:
    return isinstance(inputs, Tensor) and inputs.dtype == torch.uint8 and inputs.ndim == 4


def _read(dataset: _MapStyle, name: str) -> tuple[dict[str, Tensor], Tensor]:
    num_samples = len(dataset)
    if num_samples == 0:
        raise FactoryError(f"dataset {name!r} is empty")
    first, _ = _sample(dataset, 0, name)
    layout = _layout(first)
    tensors = {key: torch.empty((num_samples, *x.shape), dtype=_kept(x.dtype)) for key, x in first.items()}
    labels_N = torch.empty(num_samples, dtype=torch.int64)
    for index in range(num_samples):
        x, labels_N[index] = _sample(dataset, index, name)
        if _layout(x) != layout:
            raise FactoryError(
                f"dataset {name!r}: sample {index} is {_layout(x)}, sample 0 is {layout}; "
                "all samples need one shape and type: resize, crop or pad them in the dataset"
            )
        for key, tensor in x.items():
            tensors[key][index] = tensor
    return tensors, labels_N


def _sample(dataset: _MapStyle, index: int, name: str) -> tuple[dict[str, Tensor], int]:
    try:
        item = dataset[index]
    except DistillJobError:
        raise
    except Exception as error:
        raise FactoryError(f"dataset {name!r}: sample {index} raised {type(error).__name__}: {error}") from error
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise FactoryError(f"dataset {name!r}: sample {index} is a {type(item).__name__}; it must be {SAMPLE}")
    x, y = item
    named = x if isinstance(x, Mapping) else {SINGLE: x}
    for key, value in named.items():
        if not isinstance(value, Tensor):
            raise FactoryError(
                f"dataset {name!r}: input {key!r} of sample {index} is a {type(value).__name__}, not a tensor"
            )
    try:
        return dict(named), operator.index(y)
    except TypeError as error:
        raise FactoryError(
            f"dataset {name!r}: the label of sample {index} is {y!r}; it must be an integer class"
        ) from error


def _layout(x: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{key or 'a tensor'} {list(tensor.shape)} of {tensor.dtype}" for key, tensor in sorted(x.items()))


def _kept(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype.is_floating_point else dtype
