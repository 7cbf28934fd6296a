"""The reference page of the resource, made of the models: every field, its type, default and meaning."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from distilljob_core.crd import schema
from distilljob_core.spec.rules import RULES
from distilljob_core.spec.unsupported import UNSUPPORTED, UNSUPPORTED_DATASETS

SAME_SHAPE_AS: Final = {
    "spec.aggregator.pod": "spec.pod",
    "spec.students[].pod": "spec.pod",
    "spec.students[].training": "spec.training",
}


def field_reference() -> str:
    """Write the page as Markdown."""
    rows = [f"| `{path}` | {kind} | {default} | {text} |" for path, kind, default, text in _fields(schema(), "")]
    refused = [f"- `spec.{path}`: so far only {_listed(values)}" for path, values in UNSUPPORTED.items()]
    refused += [f"- `spec.dataset.name`: `{name}`" for name in UNSUPPORTED_DATASETS]
    rules = [f"- `{rule.at or 'the resource'}` {rule.field_path}: {rule.message}" for rule in RULES]
    return "\n".join(
        [
            "# DistillJob: all fields",
            "",
            "Types and limits are those of the CRD. A field that is not built yet is refused, never ignored.",
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
            "## Not supported yet",
            "",
            *refused,
            "",
        ]
    )


def _fields(node: Mapping[str, Any], path: str) -> Iterator[tuple[str, str, str, str]]:
    """Walk spec depth first."""
    for name, below in node.get("properties", {}).items():
        here = f"{path}.{name}".removeprefix(".")
        if not here.startswith("spec"):
            continue
        default = json.dumps(below["default"]) if below.get("default", {}) != {} else ""
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
    return f"{kind}{limits}{', nullable' if node.get('nullable') else ''}"


def _limits(node: Mapping[str, Any]) -> str:
    low = "" if "minimum" not in node else f"{'>' if node.get('exclusiveMinimum') else '>='} {node['minimum']}"
    high = "" if "maximum" not in node else f"{'<' if node.get('exclusiveMaximum') else '<='} {node['maximum']}"
    both = ", ".join(bound for bound in (low, high) if bound)
    return f" {both}" if both else ""


def _listed(values: tuple[Any, ...]) -> str:
    return ", ".join(f"`{json.dumps(value)}`" for value in values)
