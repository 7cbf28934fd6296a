"""What the operator itself decides about pods, unless a job says otherwise."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import Field

from distilljob_core.spec.base import Part, Problem
from distilljob_core.spec.cluster import pod_problems
from distilljob_core.spec.pod import Pod


class PodDefaults(Part):
    """What pods of every job have unless the job says otherwise; a job's `pod` is laid over it."""

    students: Pod = Field(default_factory=Pod)
    """Students' pods."""
    aggregator: Pod = Field(default_factory=Pod)
    """Aggregators' pods."""

    def problems(self) -> Iterator[Problem]:
        """Find what no job could have, or what only some jobs could."""
        yield from pod_problems("students", self.students, mounts_data=True)
        yield from pod_problems("aggregator", self.aggregator, mounts_data=True)
        if self.aggregator.gpu_resource_name is not None:
            yield Problem("aggregator.gpuResourceName", "the aggregator uses no GPU: remove it")


@dataclass(frozen=True, slots=True)
class Images:
    """Where programs come from, and what their pods have unless a job says otherwise."""

    trainer: str
    aggregator: str
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    """Names of Secrets in the job's namespace."""
    pods: PodDefaults = field(default_factory=PodDefaults)
    readers: tuple[dict[str, Any], ...] = ()
    """Who may read metrics and round tables, as in a NetworkPolicy; nobody in particular: everybody."""


def unnamed_images(version: str) -> Images:
    """Give images in a registry that nobody has, for what is shown to somebody who puts their own in its place."""
    trainer, aggregator = (f"registry.example.com/distilljob-{part}:{version}" for part in ("trainer", "aggregator"))
    return Images(trainer, aggregator)
