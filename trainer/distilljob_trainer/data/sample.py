"""One sample of a user's map-style dataset: what it must be, and words for what it is instead."""

import operator
from collections.abc import Mapping
from typing import Final, Protocol

import torch
from torch import Tensor

from distilljob_core.errors import DistillJobError, FactoryError

SAMPLE: Final = "(tensor or dict of tensors, integer label)"
SINGLE: Final = ""  # the name of an input that is a lone tensor


class MapStyle(Protocol):
    """`len(dataset)`, and `dataset[index] -> (Tensor | dict[str, Tensor], int)`."""

    def __len__(self) -> int:
        """Give N."""

    def __getitem__(self, index: int, /) -> object:
        """Give one sample."""


def read_sample(dataset: MapStyle, index: int, name: str) -> tuple[dict[str, Tensor], int]:
    """Read one sample; a lone tensor is named SINGLE.

    Args:
        dataset: looked at once.
        index: of the sample.
        name: the factory's name for the text of errors.

    Raises:
        FactoryError: the dataset raised an error, or gave something else than a sample.
        DistillJobError: the dataset raised one of our own tree; it passes through.
    """
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


def layout(x: Mapping[str, Tensor]) -> str:
    """Say the names, shapes and types of a sample's inputs."""
    return ", ".join(f"{key or 'a tensor'} {list(tensor.shape)} of {tensor.dtype}" for key, tensor in sorted(x.items()))


def check_layout(x: Mapping[str, Tensor], expected: str, index: int, name: str) -> None:
    """Refuse a sample that does not fit into a batch with the first.

    Raises:
        FactoryError: its layout is not the expected one.
    """
    if layout(x) != expected:
        raise FactoryError(
            f"dataset {name!r}: sample {index} is {layout(x)}, sample 0 is {expected}; "
            "all samples need one shape and type: resize, crop or pad them in the dataset"
        )


def room(first: Mapping[str, Tensor], num_samples: int) -> dict[str, Tensor]:
    """Make room for samples like this one; floating-point numbers are kept as float32."""
    return {key: torch.empty((num_samples, *x.shape), dtype=_kept(x.dtype)) for key, x in first.items()}


def _kept(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype.is_floating_point else dtype
