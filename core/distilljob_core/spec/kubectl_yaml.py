"""Reads YAML the way kubectl does, so that one file means the same on one machine and in a cluster.

kubectl resolves plain scalars by YAML 1.1 with a few turns of its own: `5e-4` is a number, `010` is eight, `1:30` and
dates stay text, `yes`, `on` and `y` are booleans. Duplicate keys are errors.
"""

import json
import re
from math import isinf
from typing import Any, Final

import yaml

from distilljob_core.spec.base import Problem
from distilljob_core.spec.problems import SpecProblems

MAXIMUM_CHARACTERS: Final = 1_000_000
"""The API server takes no larger objects."""

_TRUE: Final = ("y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "true", "True", "TRUE")
_FALSE: Final = ("n", "N", "no", "No", "NO", "off", "Off", "OFF", "false", "False", "FALSE")
_BOOLEANS: Final = dict.fromkeys(_TRUE, True) | dict.fromkeys(_FALSE, False)
_NULLS: Final = frozenset(("", "~", "null", "Null", "NULL"))
_INTEGER: Final = re.compile(
    r"^[-+]?(?P<digits>0[xX][0-9a-fA-F]+|0[oO]?(?P<octal>[0-7]+)|0[bB](?P<binary>[01]+)|0|[1-9][0-9]*)$"
)
_FLOAT: Final = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")


def resolve_scalar(text: str) -> bool | int | float | str | None:
    """Give a plain (unquoted) scalar the value that kubectl gives it."""
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    plain = text if text.startswith("_") else text.replace("_", "")
    if match := _INTEGER.match(plain):
        sign = -1 if plain.startswith("-") else 1
        return sign * _magnitude(match)
    return _number(float(plain), text) if _FLOAT.match(plain) else text


def _number(value: float, text: str) -> int | float | str:
    """Write whole numbers as JSON does on kubectl's way to the API server: 1e3 is 1000 and fits an integer field."""
    if isinf(value):
        return text
    return int(value) if value.is_integer() else value


def _magnitude(match: re.Match[str]) -> int:
    if octal := match["octal"]:
        return int(octal, 8)
    if binary := match["binary"]:
        return int(binary, 2)
    return int(match["digits"], 16 if match["digits"][:2] in ("0x", "0X") else 10)


_MAP: Final = "tag:yaml.org,2002:map"
_SEQUENCE: Final = "tag:yaml.org,2002:seq"


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with kubectl's scalars and no duplicate keys."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
    # Plain JSON only: no dates, sets or bytes, whatever tag asks for them.
    yaml_constructors = {tag: yaml.SafeLoader.yaml_constructors[tag] for tag in (_MAP, _SEQUENCE, None)}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = str(key_node.value)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return {_key_text(key): value for key, value in super().construct_mapping(node, deep=deep).items()}


def _key_text(key: Any) -> str:
    """Write a key as kubectl does: JSON knows only text there, so `y:` becomes "true"."""
    return key if isinstance(key, str) else json.dumps(key)


def _construct_scalar(loader: _Loader, node: yaml.ScalarNode) -> Any:
    text = str(loader.construct_scalar(node))
    return resolve_scalar(text) if node.style is None else text


_Loader.add_constructor("tag:yaml.org,2002:str", _construct_scalar)
# `<<` must keep its own tag, or merging keys would stop working.
_Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"^<<$"), ["<"])


def read_yaml(text: str) -> dict[str, Any]:
    """Read one YAML or JSON document that holds one object.

    Raises:
        SpecProblems: no YAML, too large, not exactly one document, or no object at its top.
    """
    if len(text) > MAXIMUM_CHARACTERS:
        raise SpecProblems([Problem("file", f"is larger than {MAXIMUM_CHARACTERS:,} characters")])
    try:
        documents = [document for document in yaml.load_all(text, Loader=_Loader) if document is not None]
        json.dumps(documents)  # an alias may lead back to its own anchor
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SpecProblems([Problem("file", f"is not YAML: {_one_line(error)}")]) from error
    if len(documents) != 1:
        hint = "put each DistillJob into a file of its own"
        raise SpecProblems([Problem("file", f"holds {len(documents)} documents, not one", hint)])
    if not isinstance(documents[0], dict):
        raise SpecProblems([Problem("file", "holds no object", "begin with apiVersion, kind, metadata and spec")])
    return documents[0]


def _one_line(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())
