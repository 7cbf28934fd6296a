"""What a job says beyond its defaults, and in what jobs differ."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from distilljob.report.picture import Table
from distilljob.report.run import Run
from distilljob_core.spec.job import DistillJob

_SEED = "training.seed"


def beyond_defaults(job: DistillJob) -> Table:
    """List every field of the spec that has another value than its default."""
    tree = job.spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return Table.of(("field", "value"), _leaves(tree, ""))


def differences(runs: Sequence[Run]) -> Table:
    """List every field of the spec in which runs differ, a column for each run."""
    flat = [fields(run.job) for run in runs]
    paths = dict.fromkeys(path for run in runs for path, _ in beyond_defaults(run.job).rows)
    rows = [(path, *(one.get(path, "–") for one in flat)) for path in paths]
    return Table.of(("field", *(run.label for run in runs)), [row for row in rows if len(set(row[1:])) > 1])


def fields(job: DistillJob) -> dict[str, str]:
    """Give every field of the spec, defaults too, with students and other named things by their names."""
    return dict(_leaves(job.spec.model_dump(mode="json", by_alias=True), ""))


def same_but_seed(runs: Sequence[Run]) -> list[list[Run]]:
    """Group runs whose jobs differ in the seed alone: repetitions of one configuration."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        key = {path: value for path, value in fields(run.job).items() if not path.endswith(_SEED)}
        groups.setdefault(json.dumps(key, sort_keys=True), []).append(run)
    return list(groups.values())


def _leaves(node: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, Mapping) and node:
        for key, below in node.items():
            yield from _leaves(below, f"{path}.{key}".removeprefix("."))
    elif isinstance(node, list) and node and all(isinstance(item, Mapping) for item in node):
        for index, item in enumerate(node):
            yield from _leaves(
                {key: value for key, value in item.items() if key != "name"}, f"{path}[{_name(item, index)}]"
            )
    elif node != {} or path:
        yield path, node if isinstance(node, str) else json.dumps(node, ensure_ascii=False)


def _name(item: Mapping[str, Any], index: int) -> str:
    return str(item.get("name", index))
