"""The CRD against the rules that the API server has for structural schemas, and the page made of it."""

import json
import re

import pytest

from distilljob_core.conditions import ConditionType, Reason
from distilljob_core.crd import crd, schema
from distilljob_core.reference import conditions_reference, field_reference
from distilljob_core.spec.cluster import CLUSTER_RULES
from distilljob_core.spec.frozen import FREEZES
from distilljob_core.spec.kubectl_yaml import resolve_scalar
from distilljob_core.spec.load import load_job
from distilljob_core.spec.rules import RULES
from distilljob_core.spec.unsupported import UNSUPPORTED

CLIENT_SIDE_APPLY_LIMIT_BYTES = 200_000
ALLOWED_KEYWORDS = {
    "type",
    "description",
    "default",
    "enum",
    "properties",
    "required",
    "items",
    "additionalProperties",
    "minimum",
    "exclusiveMinimum",
    "maximum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "maxProperties",
    "pattern",
    "format",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-validations",
}


def nodes(node, path=""):
    yield path, node
    for name, below in node.get("properties", {}).items():
        yield from nodes(below, f"{path}.{name}".removeprefix("."))
    if "items" in node:
        yield from nodes(node["items"], f"{path}[]")
    if "additionalProperties" in node:
        yield from nodes(node["additionalProperties"], f"{path}{{}}")


NODES = dict(nodes(schema()))


def test_every_node_has_a_type_or_says_that_it_is_free():
    for path, node in NODES.items():
        free = node.get("x-kubernetes-int-or-string") or node.get("x-kubernetes-preserve-unknown-fields")
        assert "type" in node or free, path


def test_only_keywords_of_structural_schemas_are_used():
    for path, node in NODES.items():
        assert set(node) <= ALLOWED_KEYWORDS, path


def test_open_bounds_are_flags():
    for path, node in NODES.items():
        for keyword, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
            assert node.get(keyword) in (None, True), path
            assert keyword not in node or bound in node, path


def test_properties_and_free_maps_exclude_each_other():
    for path, node in NODES.items():
        assert not ("properties" in node and "additionalProperties" in node), path


def test_every_field_is_described():
    assert [path for path, node in NODES.items() if path and path[-1] not in "]}" and not node.get("description")] == [
        "metadata"
    ]


def test_every_list_and_text_is_bounded():
    """CEL rules walk them; unbounded ones exceed the API server's cost limit."""
    for path, node in NODES.items():
        if node.get("type") == "array":
            assert "maxItems" in node, path
        if node.get("type") == "string" and path not in ("apiVersion", "kind"):
            assert {"enum", "maxLength", "pattern", "format"} & set(node), path


def test_no_enum_value_is_a_yaml_boolean_or_number():
    for path, node in NODES.items():
        for value in node.get("enum", ()) if path.startswith("spec") else ():
            assert resolve_scalar(value) == value, path


def test_lists_of_named_things_are_maps_by_name():
    assert NODES["spec.students"]["x-kubernetes-list-map-keys"] == ["name"]
    assert NODES["status.conditions"]["x-kubernetes-list-map-keys"] == ["type"]
    assert "name" in NODES["spec.students[]"]["required"]


def test_defaults_fit_their_own_schema():
    for path, node in NODES.items():
        if "default" in node and "enum" in node:
            assert node["default"] in node["enum"], path
        if isinstance(node.get("default"), int | float) and not isinstance(node["default"], bool):
            assert node.get("minimum", node["default"]) <= node["default"] <= node.get("maximum", node["default"]), path


def test_a_blocks_default_holds_those_below_because_rules_see_it_as_it_is_written():
    assert NODES["spec.method"]["default"]["ramp"] == NODES["spec.method.ramp"]["default"]
    assert NODES["spec.method.ramp"]["default"] == {"kind": "Linear", "unit": "Epoch"}
    assert NODES["spec.pod"]["default"] == {}
    for path in ("spec.dataset", "spec.dataset.volume", "spec.students[].initialWeights", "spec.pod.resources"):
        assert "default" not in NODES[path]


def test_a_students_overrides_carry_no_defaults():
    inside = [
        path for path, node in NODES.items() if path.startswith("spec.students[].training.") and "default" in node
    ]
    assert inside == []


def test_every_rule_stands_in_the_schema_with_message_and_field():
    found = [(path, rule) for path, node in NODES.items() for rule in node.get("x-kubernetes-validations", ())]
    assert len(found) == len(RULES) + len(CLUSTER_RULES) + len(FREEZES)
    for path, rule in found:
        assert rule["message"]
        target = f"{path}{rule['fieldPath']}".removeprefix(".")
        assert target in NODES, target


def test_nothing_of_the_status_has_a_default():
    """What is stored must be what was written, or it would be written again and again."""
    assert [path for path, node in NODES.items() if path.startswith("status") and "default" in node] == []


def test_rules_speak_of_fields_that_exist_where_they_stand():
    for rule in (*RULES, *CLUSTER_RULES):
        for first in re.findall(r"self\.([a-zA-Z]+)", rule.cel):
            assert first in NODES[rule.at]["properties"], rule.cel


def test_the_crd_fits_into_a_client_side_apply():
    compact = json.dumps(crd(), separators=(",", ":"))
    assert len(compact) < CLIENT_SIDE_APPLY_LIMIT_BYTES


def test_columns_read_fields_of_the_status():
    version = crd()["spec"]["versions"][0]
    for column in version["additionalPrinterColumns"]:
        path = column["jsonPath"].removeprefix(".")
        assert path.startswith("metadata.") or path in NODES, path
    assert version["subresources"] == {"status": {}}


@pytest.mark.parametrize("pattern", UNSUPPORTED)
def test_the_list_of_refused_fields_names_fields_that_exist(pattern):
    assert f"spec.{pattern}" in NODES


def test_the_reference_names_every_field_once():
    page = field_reference()
    listed = re.findall(r"^\| `(spec[^`]*)` \|", page, re.MULTILINE)
    assert len(listed) == len(set(listed))
    shortened = re.compile(r"spec\.(aggregator\.pod|students\[\]\.pod|students\[\]\.training)\.")
    wanted = {path for path in NODES if path.startswith("spec") and path[-1] not in "]}"}
    assert {path for path in wanted if not shortened.match(path)} == set(listed)


def test_the_reference_says_of_every_condition_and_reason_when_it_is_used():
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", conditions_reference(), re.MULTILINE))
    assert list(rows) == [*ConditionType, *Reason]
    assert rows["Degraded"] == "The job goes on, and somebody should look at it."
    assert rows["QuorumDone"] == "Every student that was not dropped has its terminal record."


def test_condition_reasons_fit_the_status_field():
    assert all(len(reason.value) <= NODES["status.conditions[].reason"]["maxLength"] for reason in Reason)


def test_the_smallest_good_file_passes():
    load_job(
        '{"apiVersion": "distilljob.dev/v1alpha1", "kind": "DistillJob", "metadata": {"name": "a"}, "spec": '
        '{"dataset": {"name": "digits"}, "students": [{"name": "s", "model": {"name": "mlp_small"}}]}}'
    )
