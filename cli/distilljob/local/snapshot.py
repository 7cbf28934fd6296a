"""The job as all its processes read it: taken at the first start, and never another one in the same folder."""

import json
from typing import Any, Final

from distilljob_core.spec.base import Problem, dump, merge
from distilljob_core.spec.job import DistillJob

MUTABLE: Final = ("failurePolicy", "stopAfterCycle", "activeDeadlineSeconds")
"""What may change from one start of the runner to the next, below spec."""


def snapshot(job: DistillJob, uid: str) -> dict[str, Any]:
    """Give the job as plain JSON types with its uid and with today's defaults written out.

    Students stay as they were given: a field that one does not set must not hide the group's.
    """
    written_out = job.model_dump(mode="json", by_alias=True, exclude={"status"}, exclude_none=True)
    tree = merge(written_out, dump(job))
    tree["metadata"]["uid"] = uid
    return tree


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
