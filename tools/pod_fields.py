"""The schema for Helm of what a pod takes from Kubernetes as it is, read from the models of Kubernetes' own client."""

import re
from collections.abc import Iterator
from typing import Any, Final

from kubernetes.client import models

Schema = dict[str, Any]
QUANTITY: Final[Schema] = {"type": ["string", "number"], "pattern": "^[0-9]+(\\.[0-9]+)?(m|k|Ki|[MGTPE]i?)?$"}
QUANTITIES: Final[Schema] = {"type": "object", "additionalProperties": QUANTITY}
ROOTS: Final = ("V1Affinity", "V1EnvFromSource", "V1EnvVarSource", "V1PodSecurityContext")
ROOT_LISTS: Final = ("V1TopologySpreadConstraint", "V1Volume")
_REQUIRED: Final = {"V1Volume": ["name"]}
_SPECIAL: Final[dict[tuple[str, str], Schema]] = {
    ("V1EmptyDirVolumeSource", "size_limit"): QUANTITY,
    ("V1ResourceFieldSelector", "divisor"): QUANTITY,
    ("V1VolumeResourceRequirements", "limits"): QUANTITIES,
    ("V1VolumeResourceRequirements", "requests"): QUANTITIES,
    ("V1PersistentVolumeClaimTemplate", "metadata"): {"type": "object"},
}
"""What the client's types say less of, or more than anybody writes."""
_LEAVES: Final[dict[str, Schema]] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "bool": {"type": "boolean"},
    "object": {"type": ["integer", "string"]},
    "Dict[str, str]": {"type": "object", "additionalProperties": {"type": "string"}},
}


def reference(model: str) -> Schema:
    """Point at a model's definition."""
    return {"$ref": f"#/definitions/{model}"}


def definitions() -> dict[str, Schema]:
    """Define the roots, and all that they are made of."""
    found: dict[str, Schema] = {}
    todo = [*ROOTS, *ROOT_LISTS]
    while todo:
        model = todo.pop()
        if model not in found:
            found[model] = _definition(model)
            todo += _references(found[model])
    return dict(sorted(found.items()))


def _definition(model: str) -> Schema:
    kind = getattr(models, model)
    properties = {
        kind.attribute_map[field]: _SPECIAL.get((model, field)) or _schema(written)
        for field, written in kind.openapi_types.items()
    }
    return {
        "type": "object",
        "additionalProperties": False,
        "required": _REQUIRED.get(model, []),
        "properties": properties,
    }


def _schema(written: str) -> Schema:
    if inner := re.fullmatch(r"List\[(.+)\]", written):
        return {"type": "array", "items": _schema(inner[1])}
    return _LEAVES[written] if written in _LEAVES else reference(written)


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield schema["$ref"].rpartition("/")[2]
        for below in schema.values():
            yield from _references(below)
