"""A DistillJob as the user gives it, file or mapping, with every `--set` laid over it, checked as one."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from distilljob.errors import BadInput, NotFound
from distilljob_core.spec.base import Problem
from distilljob_core.spec.job import DistillJob
from distilljob_core.spec.kubectl_yaml import read_yaml, resolve_scalar
from distilljob_core.spec.load import check_job
from distilljob_core.spec.problems import SpecProblems

_TOP: Final = frozenset({"apiVersion", "kind", "metadata", "spec", "status"})
_STEP: Final = re.compile(r"([^.\[\]]+)|\[([^\[\]]+)\]")
_PATH: Final = re.compile(r"^[^.\[\]]+(\.[^.\[\]]+|\[[^\[\]]+\])*$")


@dataclass(frozen=True, slots=True)
class JobFile:
    """A checked job and the text that says the same."""

    job: DistillJob
    text: str


def read_job(file: Path, settings: Sequence[str] = ()) -> JobFile:
    """Read one file and lay `path=value` settings over it.

    Raises:
        NotFound: there is no such file.
        BadInput: the file or a setting is wrong; every problem at once.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(f"{file}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{file} cannot be read: {error}") from None
    try:
        tree = read_yaml(text)
        job = _checked(tree, settings)
    except SpecProblems as error:
        raise BadInput(f"{file} is not a valid DistillJob", error.problems) from None
    return JobFile(job, dump_yaml(tree) if settings else text)


def read_mapping(job: Mapping[str, Any], settings: Sequence[str] = ()) -> JobFile:
    """Take a whole resource as plain JSON types, which stays as it is, and lay `path=value` settings over it.

    Raises:
        BadInput: the mapping or a setting is wrong; every problem at once.
    """
    try:
        tree = json.loads(json.dumps(job, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise BadInput(f"the mapping is not a DistillJob: it holds more than JSON can say: {error}") from None
    try:
        return JobFile(_checked(tree, settings), dump_yaml(tree))
    except SpecProblems as error:
        raise BadInput("the mapping is not a valid DistillJob", error.problems) from None


def _checked(tree: dict[str, Any], settings: Sequence[str]) -> DistillJob:
    problems = [problem for setting in settings for problem in apply_setting(tree, setting)]
    if problems:
        raise SpecProblems(problems)
    return check_job(tree)


def apply_setting(tree: dict[str, Any], setting: str) -> list[Problem]:
    """Set one value in a tree of plain JSON types; return what hinders it.

    Args:
        tree: changed in place; blocks that are not there yet are made.
        setting: `path=value`. Paths begin at `spec` unless they say otherwise, and pick from a list by number or by
            name: `students[0].model.name`, `students[vgg].training`. Values are YAML, read as in the file.
    """
    path, equals, value = setting.partition("=")
    place = f"--set {path}"
    if not equals or not _PATH.match(path):
        return [Problem(f"--set {setting}", "is not of the form path=value", "for example --set method.cycles=2")]
    try:
        parsed = read_yaml(f"value: {value}")
    except SpecProblems as error:
        return [Problem(place, "the value is not YAML", error.problems[0].message)]
    keys = [name or f"[{index}]" for name, index in _STEP.findall(path)]
    if keys[0] not in _TOP:
        keys.insert(0, "spec")
    node: Any = tree
    for key, below in zip(keys, [*keys[1:], None], strict=True):
        step = _step_into(node, key)
        if step is None:
            return [Problem(place, f"there is no {key.strip('[]')} here", _choices(node))]
        if below is None:
            node[step] = parsed["value"]
        elif isinstance(node, dict) and node.get(step) is None:
            node[step] = {}
        node = node[step]
    return []


def _step_into(node: Any, key: str) -> str | int | None:
    """Give the index that a step of a path means at this node; None when it leads nowhere."""
    if isinstance(node, dict):
        return None if key.startswith("[") else key
    if not isinstance(node, list) or not key.startswith("["):
        return None
    wanted = key[1:-1]
    names = [item.get("name") if isinstance(item, dict) else None for item in node]
    if wanted in names:
        return names.index(wanted)
    return int(wanted) if wanted.isdecimal() and int(wanted) < len(node) else None


def _choices(node: Any) -> str:
    if isinstance(node, dict):
        return "pick a field with .name"
    if not isinstance(node, list):
        return "the path goes below a single value"
    names = [str(item["name"]) for item in node if isinstance(item, dict) and "name" in item]
    return f"pick one of the list with [0] to [{len(node) - 1}]" + (f" or by name: {', '.join(names)}" if names else "")


class _Dumper(yaml.SafeDumper):
    """Quotes every text that kubectl would not read as text."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    quoted = None if resolve_scalar(text) == text else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=quoted)


_Dumper.add_representer(str, _represent_text)


def dump_yaml(tree: Any) -> str:
    """Write plain JSON types as YAML that `read_yaml` and kubectl read back unchanged."""
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
