"""The CustomResourceDefinition, made of the models: JSON schema -> structural schema -> CRD."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from distilljob_core.spec.cluster import CLUSTER_RULES
from distilljob_core.spec.frozen import FREEZES
from distilljob_core.spec.job import API_GROUP, API_VERSION, KIND, DistillJobSpec
from distilljob_core.spec.rules import RULES
from distilljob_core.status import DistillJobStatus

PLURAL: Final = "distilljobs"

COLUMNS: Final = (
    ("Phase", "string", ".status.phase", 0),
    ("Cycle", "string", ".status.cycleColumn", 0),
    ("Students", "string", ".status.studentsColumn", 0),
    ("Restarts", "integer", ".status.restartsTotal", 0),
    ("Accuracy", "string", ".status.accuracyColumn", 0),
    ("Slowest", "string", ".status.slowestStudent", 1),
    ("ETA", "string", ".status.estimatedCompletionTime", 1),
    ("Age", "date", ".metadata.creationTimestamp", 0),
)
"""Name, type, where from, priority (1 = only with -o wide). A date is shown as its age, and one to come not at all."""

_LIST_KEYS: Final = {"spec.students": "name", "status.students": "name", "status.conditions": "type"}

_UNWANTED: Final = frozenset({"title", "$defs", "propertyNames", "exclusiveMinimum", "exclusiveMaximum"})

Schema = dict[str, Any]


def crd() -> Schema:
    """Build the CRD as plain JSON types."""
    version = {
        "name": API_VERSION.partition("/")[2],
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [_column(*column) for column in COLUMNS],
        "schema": {"openAPIV3Schema": schema()},
    }
    names = {
        "kind": KIND,
        "listKind": f"{KIND}List",
        "plural": PLURAL,
        "singular": "distilljob",
        "shortNames": ["dj"],
        "categories": ["all", "distill"],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{API_GROUP}"},
        "spec": {"group": API_GROUP, "names": names, "scope": "Namespaced", "versions": [version]},
    }


def schema() -> Schema:
    """Build the structural schema of the whole resource, with its CEL rules."""
    root: Schema = {
        "type": "object",
        "description": "A group of students that teach each other: cross-architecture online distillation.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": f"Always {API_VERSION}."},
            "kind": {"type": "string", "description": f"Always {KIND}."},
            "metadata": {"type": "object"},
            "spec": structural(DistillJobSpec),
            "status": _without_defaults(structural(DistillJobStatus)),
        },
    }
    for path, key in _LIST_KEYS.items():
        _node(root, path).update({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]})
    for rule in (*RULES, *CLUSTER_RULES):
        validation = {"rule": rule.cel, "message": rule.message, "fieldPath": rule.field_path}
        _node(root, rule.at).setdefault("x-kubernetes-validations", []).append(validation)
    freezes = [{"rule": freeze.cel, "message": freeze.message, "fieldPath": freeze.field_path} for freeze in FREEZES]
    root["x-kubernetes-validations"] += freezes
    return root


def structural(model: type[BaseModel]) -> Schema:
    """Turn a model into a structural schema, as the API server demands it."""
    source = model.model_json_schema(by_alias=True)
    return _convert(source, source.get("$defs", {}))


def _convert(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    """Inline references and rewrite everything that structural schemas say in another way."""
    if "$ref" in node:
        target = definitions[node["$ref"].rpartition("/")[2]]
        node = {**target, **{key: value for key, value in node.items() if key != "$ref"}}
    if "anyOf" in node:
        return _convert_union(node, definitions)
    made = {key: value for key, value in node.items() if key not in _UNWANTED}
    made |= _bounds(node)
    if "items" in node:
        made["items"] = _convert(node["items"], definitions)
    if "properties" in node:
        made["properties"] = {
            name: _convert(below, definitions)
            if name in node.get("required", ()) or "default" in below
            else _with_default(_convert(below, definitions))
            for name, below in node["properties"].items()
        }
    made |= _extra_properties(node, definitions)
    return {key: value for key, value in made.items() if value is not None}


def _bounds(node: Mapping[str, Any]) -> Schema:
    """JSON schema writes an open bound as a number, structural schemas as a bound and a flag."""
    made: Schema = {}
    if "exclusiveMinimum" in node:
        made |= {"minimum": node["exclusiveMinimum"], "exclusiveMinimum": True}
    if "exclusiveMaximum" in node:
        made |= {"maximum": node["exclusiveMaximum"], "exclusiveMaximum": True}
    return made


def _extra_properties(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    """Free maps keep their value type; free objects keep everything; blocks drop the keyword: pruning does its work."""
    extra = node.get("additionalProperties")
    if isinstance(extra, Mapping) and extra:
        return {"additionalProperties": _convert(extra, definitions)}
    if extra is True or (node.get("type") == "object" and "properties" not in node):
        return {"additionalProperties": None, "x-kubernetes-preserve-unknown-fields": True}
    return {"additionalProperties": None}


def _convert_union(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    """X | None is X: the API server drops a null that stands for no value, so that null and nothing are stored alike.

    A union of scalars is int-or-string, or free where it also takes booleans and floats.
    """
    branches = [branch for branch in node["anyOf"] if branch.get("type") != "null"]
    outer = {key: node[key] for key in ("description", "default") if node.get(key) is not None}
    if len(branches) == 1:
        return _convert(branches[0], definitions) | outer
    if {branch.get("type") for branch in branches} == {"integer", "string"}:
        return {"x-kubernetes-int-or-string": True} | outer
    return {"x-kubernetes-preserve-unknown-fields": True} | outer


def _with_default(node: Schema) -> Schema:
    """Give blocks a default, so that the defaults inside them show in `kubectl get -o yaml`.

    It is written out whole: the API server holds a default against the rules before it fills in what is below.
    """
    if node.get("type") != "object":
        return node
    below = node.get("properties", {}).items()
    return node | {"default": {name: field["default"] for name, field in below if "default" in field}}


def _without_defaults(node: Schema) -> Schema:
    """Leave what is stored as it was written: a status is no wish to be filled in."""
    made = {key: value for key, value in node.items() if key != "default"}
    if "items" in made:
        made["items"] = _without_defaults(made["items"])
    if "properties" in made:
        made["properties"] = {name: _without_defaults(below) for name, below in made["properties"].items()}
    return made


def _node(root: Schema, path: str) -> Schema:
    node = root
    for step in path.split(".") if path else ():
        node = node["properties"][step]
    return node


def _column(name: str, kind: str, path: str, priority: int) -> Schema:
    return {"name": name, "type": kind, "jsonPath": path} | ({"priority": priority} if priority else {})
