"""From text to a checked DistillJob: every problem at once, each with its path and what to change."""

import json
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from distilljob_core.spec.base import Part, Problem
from distilljob_core.spec.job import DistillJob
from distilljob_core.spec.kubectl_yaml import read_yaml
from distilljob_core.spec.problems import SpecProblems
from distilljob_core.spec.rules import broken_rules
from distilljob_core.spec.unsupported import unsupported

Step = str | int


def load_job(text: str) -> DistillJob:
    """Read and check one DistillJob.

    Raises:
        SpecProblems: with everything that is wrong, not just the first.
    """
    return check_job(read_yaml(text))


def check_job(tree: Mapping[str, Any]) -> DistillJob:
    """Check one DistillJob given as plain JSON types; see `load_job`."""
    job, problems = _validate(tree)
    if isinstance(spec := tree.get("spec"), Mapping):
        problems += _elsewhere(unsupported(spec), problems)
    if job is not None:
        problems += _elsewhere(broken_rules(job), problems)
    if problems or job is None:
        raise SpecProblems(problems)
    return job


def _validate(tree: Mapping[str, Any]) -> tuple[DistillJob | None, list[Problem]]:
    """Check the shape; where only single fields are wrong, also give the job without them, so that rules still run."""
    try:
        return _parse(tree), []
    except ValidationError as error:
        found = _problems(tree, error)
        if any(isinstance(steps[-1], int) for steps, _ in found if steps):
            return None, [problem for _, problem in found]  # without an item, rules would blame its neighbors
        try:
            return _parse(_without(tree, [steps for steps, _ in found])), [problem for _, problem in found]
        except ValidationError:
            return None, [problem for _, problem in found]


def _parse(tree: Mapping[str, Any]) -> DistillJob:
    # Through JSON, because that is what the API server sees: no tuples, no dates, no numbers as keys.
    return DistillJob.model_validate_json(json.dumps(tree), by_alias=True, by_name=False)


def _elsewhere(found: Iterator[Problem], known: Sequence[Problem]) -> list[Problem]:
    """Keep what was not already reported at the same place."""
    paths = {problem.path for problem in known}
    return [problem for problem in found if problem.path not in paths]


def _problems(tree: Mapping[str, Any], error: ValidationError) -> list[tuple[list[Step], Problem]]:
    """Translate pydantic's findings, one for each place."""
    found: dict[str, tuple[list[Step], Problem]] = {}
    for detail in error.errors(include_url=False):
        steps, value = _locate(tree, detail)
        path = spell(steps)
        if path in found:  # the other branch of a union
            continue
        found[path] = (steps, Problem(path, *_explain(steps, value, detail)))
    return list(found.values())


def _locate(tree: Any, detail: ErrorDetails) -> tuple[list[Step], Any]:
    """Walk the steps that exist in the input; pydantic also names union branches on the way."""
    steps: list[Step] = []
    node = tree
    for step in detail["loc"]:
        inside = isinstance(node, dict) and step in node
        inside = inside or (isinstance(node, list) and isinstance(step, int) and step < len(node))
        if inside:
            steps.append(step)
            node = node[step]
    if detail["type"] == "missing":
        steps.append(detail["loc"][-1])
    return steps, node


def _explain(steps: list[Step], value: Any, detail: ErrorDetails) -> tuple[str, str]:
    if detail["type"] == "extra_forbidden":
        known = _fields_at(steps[:-1])
        close = get_close_matches(str(steps[-1]), known, n=1)
        return "unknown field", f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"
    if detail["type"] == "missing":
        return "is required", ""
    message = detail["msg"]
    if detail["type"] == "string_pattern_mismatch":
        message = "must be lower-case letters, digits and '-', beginning and ending with a letter or digit"
    shown = json.dumps(value)
    return f"{message[0].lower()}{message[1:]}, not {shown if len(shown) <= 60 else shown[:57] + '...'}", ""


def _fields_at(steps: Sequence[Step]) -> list[str]:
    """Name the fields of the block at a place of the resource."""
    model: type[Part] | None = DistillJob
    for step in steps:
        if isinstance(step, int) or model is None:
            continue
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        model = _block_in(fields[step].annotation) if step in fields else None
    return [] if model is None else [field.alias or name for name, field in model.model_fields.items()]


def _block_in(annotation: Any) -> type[Part] | None:
    """Find the block inside a type such as list[Student] or Training | None."""
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return annotation
    return next((block for part in get_args(annotation) if (block := _block_in(part))), None)


def _without(tree: Any, places: Sequence[Sequence[Step]], prefix: tuple[Step, ...] = ()) -> Any:
    """Copy the input without the named places."""
    gone = {tuple(place) for place in places}
    if isinstance(tree, Mapping):
        return {k: _without(v, places, (*prefix, k)) for k, v in tree.items() if (*prefix, k) not in gone}
    if isinstance(tree, list):
        return [_without(v, places, (*prefix, i)) for i, v in enumerate(tree) if (*prefix, i) not in gone]
    return tree


def spell(steps: Sequence[Step]) -> str:
    """Write a place as users know it: spec.students[1].name."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return text.removeprefix(".") or "file"
