"""One dry forward pass: does a network answer as a student must?"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from distilljob_core.errors import FactoryError


def check_output(
    model: nn.Module, sample_batch: Tensor | Mapping[str, Tensor], num_classes: int, *, name: str | None = None
) -> None:
    """Run a batch through the network in both modes and check that it returns floating-point logits [B, K].

    All its state must be tensors: nothing else is saved without pickling.

    Weights, buffers (BatchNorm's statistics), mode and random state are left as they were.

    Args:
        model: the network, on the batch's device.
        sample_batch: at least two samples, for BatchNorm's sake.
        num_classes: K.
        name: the factory's name for the text of errors; the module's class when not given.

    Raises:
        FactoryError: the network raised, returned or holds something else; the text says what.
    """
    first = sample_batch if isinstance(sample_batch, Tensor) else next(iter(sample_batch.values()))
    shape = (len(first), num_classes)
    with _unchanged(model, first.device), torch.no_grad():
        for training in (False, True):
            model.train(training)
            _check_mode(model, sample_batch, shape, name or type(model).__name__)
    for key, value in model.state_dict().items():
        if not isinstance(value, Tensor):
            raise FactoryError(
                f"model {name or type(model).__name__!r} keeps {key} as a {type(value).__name__}, which no checkpoint "
                "can hold; keep it as a tensor, with register_buffer"
            )


def _check_mode(model: nn.Module, batch: Tensor | Mapping[str, Tensor], shape: tuple[int, int], name: str) -> None:
    try:
        output = model(batch)
    except Exception as error:
        raise FactoryError(
            f"model {name!r} failed on an input of {_describe(batch)}: {type(error).__name__}: {error}. "
            "Check that the model fits the dataset's samples (options such as in_channels or image_size)"
        ) from error
    if not isinstance(output, Tensor) or output.shape != shape or not output.is_floating_point():
        raise FactoryError(
            f"model {name!r} returned {_describe(output)} in {'training' if model.training else 'evaluation'} mode; "
            f"it must return floating-point logits {list(shape)} (batch, classes)"
        )


@contextmanager
def _unchanged(model: nn.Module, device: torch.device) -> Iterator[None]:
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    modes = [(module, module.training) for module in model.modules()]
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    finally:
        for module, training in modes:
            module.training = training
        for buffer, before in buffers:
            buffer.copy_(before)


def _describe(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {list(value.shape)} of {value.dtype}"
    if isinstance(value, Mapping):
        return f"a {type(value).__name__} of " + ", ".join(f"{key}: {_describe(item)}" for key, item in value.items())
    return f"a {type(value).__name__}"
