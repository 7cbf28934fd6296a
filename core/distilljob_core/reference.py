"""Reference pages made of the models: every field, its type and meaning."""

import ast
import json
from collections.abc import Iterator, Mapping
from enum import StrEnum
from inspect import getsource
from typing import Any, Final

from pydantic.alias_generators import to_camel

from distilljob_core.conditions import ConditionType, Reason
from distilljob_core.crd import schema
from distilljob_core.measurements import measurements_schema
from distilljob_core.spec.cluster import CLUSTER_RULES
from distilljob_core.spec.frozen import FREEZES, LASTING_WISH
from distilljob_core.spec.rules import RULES
from distilljob_core.spec.unsupported import UNSUPPORTED, UNSUPPORTED_DATASETS

SAME_SHAPE_AS: Final = {
    "spec.aggregator.pod": "spec.pod",
    "spec.students[].pod": "spec.pod",
    "spec.students[].training": "spec.training",
}
IN_EVERY_LINE: Final = ("timestamp_seconds", "kind")


def field_reference() -> str:
    """Write the page as Markdown."""
    rows = [f"| `{path}` | {kind} | {default} | {text} |" for path, kind, default, text in _fields(schema(), "")]
    refused = [f"- `spec.{path}`: so far only {_listed(values)}" for path, values in UNSUPPORTED.items()]
    refused += [f"- `spec.dataset.name`: `{name}`" for name in UNSUPPORTED_DATASETS]
    rules = [f"- `{rule.at or 'the resource'}` {rule.field_path}: {rule.message}" for rule in (*RULES, *CLUSTER_RULES)]
    return "\n".join(
        [
            "# DistillJob: all fields",
            "",
            "Types and limits are those of the CRD. `null` means what leaving the field out means. A field that is not",
            "built yet is refused, never ignored.",
            "",
            "## Spec",
            "",
            "| field | type | default | meaning |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
            "## Rules across fields",
            "",
            *rules,
            "",
            "## What may change",
            "",
            *_frozen(),
            "",
            "## Not supported yet",
            "",
            *refused,
            "",
        ]
    )


def _frozen() -> Iterator[str]:
    """List what is frozen, and when, by what is said of it."""
    fields: dict[str, list[str]] = {}
    for freeze in FREEZES:
        fields.setdefault(freeze.message, []).append(f"`{freeze.field_path.removeprefix('.')}`")
    for message, frozen in fields.items():
        yield f"- {', '.join(frozen)}: {message}"
    yield f"- `spec.{to_camel(LASTING_WISH)}`: can change at any time"


def metrics_reference() -> str:
    """Write the page of metrics.jsonl as Markdown."""
    schema = measurements_schema()
    models: Mapping[str, Any] = schema["$defs"]
    page = [
        "# metrics.jsonl: all fields",
        "",
        "One JSON object a line: its `kind`, `timestamp_seconds` (when it was written, on the student's wall clock,",
        "since 1970) and the fields below. `metrics.jsonl` of a run directory has the lines of all students, each with",
        "a field `student`; `results/STUDENT-metrics.jsonl` has those of one. While a student is at work its lines are",
        "in `checkpoints/STUDENT/metrics.jsonl`. Every line is there once, however often the run was resumed. Losses",
        "are in nats, accuracies are shares.",
    ]
    for kind, reference in schema["discriminator"]["mapping"].items():
        model = _resolved(models, {"$ref": reference})
        page += ["", f"## {kind}", "", model["description"], "", "| field | type | meaning |", "| --- | --- | --- |"]
        rows = _line_fields(models, model, "")
        page += [f"| `{path}` | {type_} | {text} |" for path, type_, text in rows if path not in IN_EVERY_LINE]
    return "\n".join([*page, ""])


def conditions_reference() -> str:
    """Write the page of conditions and reasons as Markdown."""
    return "\n".join(
        [
            "# Conditions and reasons",
            "",
            "What `status.conditions` and events of a DistillJob say. Messages pass on the words of scheduler, kubelet",
            "and students. `kubectl wait --for=condition=Complete dj/NAME` waits for a condition.",
            "",
            "## Conditions",
            "",
            "| type | True when |",
            "| --- | --- |",
            *(f"| `{member}` | {text} |" for member, text in _members(ConditionType)),
            "",
            "## Reasons",
            "",
            "| reason | when |",
            "| --- | --- |",
            *(f"| `{member}` | {text} |" for member, text in _members(Reason)),
            "",
        ]
    )


def _members(kind: type[StrEnum]) -> Iterator[tuple[str, str]]:
    """Read what stands below each member of an enum."""
    [body] = ast.parse(getsource(kind)).body
    assert isinstance(body, ast.ClassDef)
    for member, line in zip(kind, body.body[2::2], strict=True):
        assert isinstance(line, ast.Expr)
        yield member.value, " ".join(str(ast.literal_eval(line.value)).split())


def _resolved(models: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    return models[node["$ref"].rpartition("/")[2]] if "$ref" in node else node


def _line_fields(models: Mapping[str, Any], model: Mapping[str, Any], path: str) -> Iterator[tuple[str, str, str]]:
    """Walk the fields of a line, those of its items too."""
    for name, node in model["properties"].items():
        here = f"{path}{name}"
        items = _resolved(models, node.get("items", {}))
        yield here, _line_type(node, items), node.get("description", "").replace("\n", " ")
        if "properties" in items:
            yield from _line_fields(models, items, f"{here}[].")


def _line_type(node: Mapping[str, Any], items: Mapping[str, Any]) -> str:
    if "anyOf" in node:
        return f"{_type(node['anyOf'][0])}, nullable"
    if node["type"] == "array":
        return f"array of {_type(items)}"
    if node["type"] == "object":
        return f"object of {_type(node['additionalProperties'])}"
    return _type(node)


def _fields(node: Mapping[str, Any], path: str) -> Iterator[tuple[str, str, str, str]]:
    """Walk spec depth first."""
    for name, below in node.get("properties", {}).items():
        here = f"{path}.{name}".removeprefix(".")
        if not here.startswith("spec"):
            continue
        is_value = "properties" not in below and below.get("default", {}) != {}
        default = json.dumps(below["default"]) if is_value else ""
        text = below.get("description", "").replace("\n", " ").replace("|", "\\|")
        text += f" Same fields as {SAME_SHAPE_AS[here]}." if here in SAME_SHAPE_AS else ""
        yield here, _type(below), f"`{default}`" if default else "", text
        if here in SAME_SHAPE_AS:
            continue
        yield from _fields(below, here)
        yield from _fields(below.get("items", {}), f"{here}[]")


def _type(node: Mapping[str, Any]) -> str:
    if "enum" in node:
        return " \\| ".join(str(value) for value in node["enum"])
    if node.get("x-kubernetes-int-or-string"):
        return "integer or string"
    kind = str(node.get("type", "any"))
    limits = _limits(node)
    return f"{kind}{limits}"


def _limits(node: Mapping[str, Any]) -> str:
    low = "" if "minimum" not in node else f"{'>' if node.get('exclusiveMinimum') else '>='} {node['minimum']}"
    high = "" if "maximum" not in node else f"{'<' if node.get('exclusiveMaximum') else '<='} {node['maximum']}"
    both = ", ".join(bound for bound in (low, high) if bound)
    return f" {both}" if both else ""


def _listed(values: tuple[Any, ...]) -> str:
    return ", ".join(f"`{json.dumps(value)}`" for value in values)
