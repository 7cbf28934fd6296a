"""The ground that all parts of the resource stand on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"

Name = Annotated[str, Field(min_length=1, max_length=50, pattern=NAME_PATTERN)]
Text = Annotated[str, Field(min_length=1, max_length=253)]
Scalar = bool | int | float | Annotated[str, Field(max_length=1024)]
Options = Annotated[dict[Annotated[str, Field(max_length=63)], Scalar], Field(max_length=32)]
"""Keyword arguments for a factory: scalars only, so that they survive YAML, JSON and the API server unchanged."""
RawObjects = Annotated[list[dict[str, Any]], Field(max_length=32)]
Quantity = Annotated[str, Field(max_length=32, pattern=r"^[0-9]+(\.[0-9]+)?(m|k|Ki|[MGTPE]i?)?$")]
"""A Kubernetes quantity, such as 10Gi."""


class Part(BaseModel):
    """One block of the resource: camelCase outside, snake_case inside, frozen, unknown fields refused."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        use_attribute_docstrings=True,
    )


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a DistillJob: where, what, and what to change."""

    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" + (f" ({self.hint})" if self.hint else "")


def dump(part: BaseModel) -> dict[str, Any]:
    """Give the block back as plain JSON types under the resource's own names, without what was never set."""
    return part.model_dump(mode="json", by_alias=True, exclude_unset=True)


def merge(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Lay a patch over a base, block by block; lists and scalars of the patch win whole."""
    merged = dict(base)
    for key, value in patch.items():
        under = merged.get(key)
        merged[key] = merge(under, value) if isinstance(under, Mapping) and isinstance(value, Mapping) else value
    return merged
