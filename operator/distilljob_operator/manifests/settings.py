"""What the operator itself decides about pods, unless a job says otherwise."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Images:
    """Where programs come from."""

    trainer: str
    aggregator: str
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    """Names of Secrets in the job's namespace."""


def published_images(version: str) -> Images:
    """Give the images that are published with a version."""
    return Images(f"distilljob/trainer:{version}", f"distilljob/aggregator:{version}")
