"""A run directory holds one job: what may change from one start to the next, and what makes it another job."""

import json
from typing import Any, Final

from distilljob_core.spec.base import Problem
from distilljob_core.spec.job import DistillJob

MUTABLE: Final = ("failurePolicy", "stopAfterCycle", "activeDeadlineSeconds")
"""What may change from one start of the runner to the next, below spec."""


def differences(before: DistillJob, now: DistillJob) -> list[Problem]:
    """Name every frozen field in which two jobs differ, defaults counted."""
    return _differing(_frozen(before), _frozen(now), "")


def _frozen(job: DistillJob) -> dict[str, Any]:
    tree = job.model_dump(mode="json", by_alias=True)
    spec = {key: value for key, value in tree["spec"].items() if key not in MUTABLE}
    return {"metadata": {"name": tree["metadata"]["name"]}, "spec": spec}


def _differing(before: Any, now: Any, path: str) -> list[Problem]:
    if isinstance(before, dict) and isinstance(now, dict):
        keys = dict.fromkeys([*before, *now])
        return [p for key in keys for p in _differing(before.get(key), now.get(key), f"{path}.{key}".lstrip("."))]
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = enumerate(zip(before, now, strict=True))
        return [problem for index, (old, new) in pairs for problem in _differing(old, new, f"{path}[{index}]")]
    return (
        [] if before == now else [Problem(path, f"is {json.dumps(now)}, was {json.dumps(before)} when the run began")]
    )
