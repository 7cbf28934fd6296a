"""What users change about pods: defaults of a release, wishes of a job, and those of one student or aggregator."""

from collections.abc import Mapping
from typing import Any, Final

from distilljob_core.spec.base import dump, merge
from distilljob_core.spec.job import DistillJobSpec
from distilljob_core.spec.pod import Pod
from distilljob_core.spec.resolve import replica_names
from distilljob_operator.manifests.resources import amounts

_KEYS: Final = {"env": "name", "volumes": "name", "volumeMounts": "mountPath"}
"""Lists whose items are known by a key: an item of the same key is replaced, all others stay."""
_OF_STUDENTS: Final = (
    "image",
    "resources",
    "gpuResourceName",
    "sharedMemory",
    "env",
    "envFrom",
    "volumes",
    "volumeMounts",
)
"""What the job says about programs and their needs is said about students; the aggregator has its own."""


def student_patch(spec: DistillJobSpec, name: str, defaults: Pod) -> Pod:
    """Give everything that is wished of one student's pods."""
    entry = next(student for student in spec.students if name in replica_names(student))
    return _lay(dump(_lay(dump(defaults), dump(spec.pod))), dump(entry.pod))


def aggregator_patch(spec: DistillJobSpec, defaults: Pod) -> Pod:
    """Give everything that is wished of the aggregator's pod."""
    of_all = {key: wish for key, wish in dump(spec.pod).items() if key not in _OF_STUDENTS}
    return _lay(dump(_lay(dump(defaults), of_all)), dump(spec.aggregator.pod))


def _lay(base: Mapping[str, Any], patch: Mapping[str, Any]) -> Pod:
    laid = merge(base, patch)
    for name, key in _KEYS.items():
        if base.get(name) and patch.get(name):
            items = {item[key]: item for item in (*base[name], *patch[name])}
            laid[name] = list(items.values())
    if base.get("resources") and patch.get("resources"):
        both = amounts(base["resources"]) | amounts(patch["resources"])
        laid["resources"] = {
            "requests": {name: amount.request for name, amount in both.items() if amount.request is not None},
            "limits": {name: amount.limit for name, amount in both.items() if amount.limit is not None},
        }
    return Pod.model_validate(laid)
