"""Fields of the resource whose part is not built yet: they are refused, never ignored."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from distilljob_core.spec.base import Problem

UNSUPPORTED: Final[Mapping[str, tuple[Any, ...]]] = {
    "method.teacher.weights": ("Accuracy", "Uniform"),
    "method.teacher.minimumGain": (None,),
    "method.softLabels.codec": ("Float16",),
    "method.stop.kind": ("Cycles",),
    "method.stop.metric": ("MeanStudent",),
    "method.stop.minimumDelta": (0.001,),
    "method.stop.patienceCycles": (2,),
    "training.compile": ("Disabled",),
    "students[].training.compile": ("Disabled",),
    "students[].initialWeights": (None,),
    "students[].gpus": (0, 1),
    "results.formats": (["Safetensors"],),
}
"""Path below spec -> the values that are supported so far. `[]` stands for every item of a list."""

UNSUPPORTED_DATASETS: Final = ("cifar100", "imagenet")


def unsupported(spec: Mapping[str, Any]) -> Iterator[Problem]:
    """Find what the resource asks for that is not built yet, in a spec of plain JSON types."""
    for pattern, supported in UNSUPPORTED.items():
        for path, value in _values(spec, pattern.split("."), "spec"):
            if value not in supported:
                yield Problem(path, "not supported yet", f"supported so far: {_listed(supported)}")
    for path, value in _values(spec, ["dataset", "name"], "spec"):
        if value in UNSUPPORTED_DATASETS:
            yield Problem(path, f"the dataset {value} is not supported yet", "use cifar10 or image_folder")


def _values(part: Any, steps: list[str], path: str) -> Iterator[tuple[str, Any]]:
    """Yield every value at the end of a path that was really given, with the path spelled out."""
    if not steps:
        yield path, part
        return
    key, rest = steps[0], steps[1:]
    if not isinstance(part, Mapping) or key.removesuffix("[]") not in part:
        return
    below = part[key.removesuffix("[]")]
    if not key.endswith("[]"):
        yield from _values(below, rest, f"{path}.{key}")
    elif isinstance(below, list):
        for index, item in enumerate(below):
            yield from _values(item, rest, f"{path}.{key.removesuffix('[]')}[{index}]")


def _listed(values: tuple[Any, ...]) -> str:
    return ", ".join(json.dumps(value) for value in values)
