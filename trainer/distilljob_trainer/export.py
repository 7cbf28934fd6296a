"""Networks as files that load elsewhere: plain safetensors, and a JSON file that says what network they belong to.

    <student>.safetensors             after the last epoch
    <student>-selected.safetensors    after the epoch that was best on the hold-out
    <student>.json                    model name, options, classes, normalization
    ensemble.json                     members and their weights, written by the aggregator

Shapes: B batch, K classes.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, TypeVar

import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from torch import Tensor, nn

from distilljob_core.artifacts import (
    ENSEMBLE_FILE,
    EnsembleManifest,
    last_weights_file,
    network_file,
    network_files_of,
    selected_weights_file,
)
from distilljob_core.errors import DataError
from distilljob_core.files import write_atomically
from distilljob_trainer import models
from distilljob_trainer.data.split import Data, Inputs
from distilljob_trainer.sealed import tensor_bytes

T = TypeVar("T", bound=BaseModel)
Kind = Literal["last", "selected", "config"]


class NetworkFile(BaseModel):
    """`<student>.json`: enough to build the network and to feed it."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, frozen=True)

    student: str
    model: str
    options: dict[str, bool | int | float | str]
    classes: tuple[str, ...]
    preprocessing: str
    """What the network sees of a sample, in words."""
    mean: tuple[float, ...] | None
    """Inputs are (x / 255 - mean) / std per channel; null: samples as the dataset gives them."""
    std: tuple[float, ...] | None


def describe(student: str, model: str, options: Mapping[str, bool | int | float | str], data: Data) -> NetworkFile:
    """Say what a student's weights belong to."""
    normalization = data.train.normalization
    return NetworkFile(
        student=student,
        model=model,
        options=dict(options),
        classes=data.class_names,
        preprocessing=data.preprocessing,
        mean=None if normalization is None else normalization.mean,
        std=None if normalization is None else normalization.std,
    )


def export(
    directory: Path, network: NetworkFile, last: Mapping[str, Tensor], selected: Mapping[str, Tensor]
) -> Iterator[tuple[Kind, Path]]:
    """Write a student's three files; equal weights give equal bytes.

    Args:
        directory: exists.
        network: what the weights belong to.
        last: state dict after the last epoch.
        selected: state dict of the selected epoch.
    """
    files: list[tuple[Kind, str, bytes]] = [
        ("last", last_weights_file(network.student), tensor_bytes(last)),
        ("selected", selected_weights_file(network.student), tensor_bytes(selected)),
        ("config", network_file(network.student), network.model_dump_json(by_alias=True, indent=1).encode()),
    ]
    for kind, name, content in files:
        write_atomically(directory / name, content)
        yield kind, directory / name


class Ensemble(nn.Module):
    """The weighted mean of several networks' predictions.

    p = sum_i a_i softmax(z_i), a_i = w_i / sum w        Gao et al. 2019, equation 8, at t = 1
    """

    def __init__(self, members: list[nn.Module], weights: list[int]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        total = sum(weights)
        self.shares = [weight / total for weight in weights] if total else [1 / len(weights)] * len(weights)

    def forward(self, x: Inputs) -> Tensor:
        """Give probabilities, [B, K]."""
        parts = [share * member(x).softmax(dim=1) for share, member in zip(self.shares, self.members, strict=True)]
        return torch.stack(parts).sum(dim=0)


def load(path: str | Path) -> nn.Module:
    """Load an exported student (a .safetensors file; logits) or the ensemble (ensemble.json; probabilities).

    The network is in evaluation mode, on the CPU. It wants inputs as `<student>.json` describes them.

    Raises:
        DataError: the file, or one that it needs, is missing or damaged.
        FactoryError: the model's own factory cannot be imported here.
    """
    path = Path(path)
    if path.name != ENSEMBLE_FILE:
        return _load_student(path)
    ensemble = _read(path, EnsembleManifest)
    members = [_load_student(path.parent / member.file) for member in ensemble.members]
    return Ensemble(members, [member.weight for member in ensemble.members]).eval()


def _load_student(path: Path) -> nn.Module:
    candidates = [path.with_name(name) for name in network_files_of(path.stem)]
    network = _read(next(filter(Path.exists, candidates), candidates[-1]), NetworkFile)
    model = models.build(network.model, num_classes=len(network.classes), **network.options)
    try:
        model.load_state_dict(safetensors.torch.load(path.read_bytes()))
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        raise DataError(f"{path}: {error}") from error
    return model.eval()


def _read(path: Path, kind: type[T]) -> T:
    try:
        return kind.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: {error}") from error
