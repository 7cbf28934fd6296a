"""Requests and limits of containers: defaults, changes by resource name, GPUs."""

from collections.abc import Mapping
from decimal import Decimal
from itertools import chain
from typing import Any, Final, NamedTuple

from distilljob_core.spec.pod import Resources
from distilljob_operator.manifests.objects import Manifest

Quantity = str | int

GPU_RESOURCE_NAME: Final = "nvidia.com/gpu"
_DECIMAL: Final = {suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", start=1)}
_BINARY: Final = {f"{suffix[:1].upper()}i": Decimal(1024) ** power for power, suffix in enumerate("kMGTPE", start=1)}
_FACTORS: Final = {"m": Decimal("0.001"), **_DECIMAL, **_BINARY}


class Amount(NamedTuple):
    """How much of one resource is asked for, and how much may be used."""

    request: Quantity | None
    limit: Quantity | None


Amounts = Mapping[str, Amount]

STUDENT_ON_CPU: Final[Amounts] = {"cpu": Amount("1", "1"), "memory": Amount("2Gi", "4Gi")}
STUDENT_ON_GPU: Final[Amounts] = {"cpu": Amount("4", "4"), "memory": Amount("8Gi", "16Gi")}
AGGREGATOR: Final[Amounts] = {"cpu": Amount("500m", "2"), "memory": Amount("1Gi", "4Gi")}


def amounts(resources: Resources | Mapping[str, Any] | None) -> dict[str, Amount]:
    """Read requests and limits by resource name."""
    if resources is None:
        return {}
    both = Resources.model_validate(resources)
    requests, limits = both.requests or {}, both.limits or {}
    return {name: Amount(requests.get(name), limits.get(name)) for name in dict.fromkeys(chain(requests, limits))}


def with_gpus(wanted: Amounts, gpus: int, resource_name: str) -> dict[str, Amount]:
    """Ask for GPUs, unless some extended resource is asked for by name."""
    if gpus == 0 or any(_is_extended(name) for name in wanted):
        return dict(wanted)
    return {**wanted, resource_name: Amount(gpus, gpus)}


def container_resources(wanted: Amounts) -> Manifest:
    """Write requests and limits; what stands on one side only holds for both."""
    return {
        "requests": {
            name: amount.limit if amount.request is None else amount.request for name, amount in wanted.items()
        },
        "limits": {name: amount.request if amount.limit is None else amount.limit for name, amount in wanted.items()},
    }


def num_threads(resources: Manifest) -> int:
    """Count the threads of a student: whole CPUs of its limit, at least one.

    It is part of what makes numbers equal, so it depends on the resource alone and not on the node.
    """
    return max(1, int(value(resources["limits"]["cpu"])))


def value(quantity: Quantity) -> Decimal:
    """Give a Kubernetes quantity as a number."""
    text = str(quantity)
    number = text.rstrip("kKMGTPEim")
    return Decimal(number) * _FACTORS.get(text[len(number) :], Decimal(1))


def _is_extended(name: str) -> bool:
    return "/" in name and "kubernetes.io/" not in name
