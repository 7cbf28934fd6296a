"""What a job has published: which files somebody wants, and what their bytes must be."""

import json
from collections.abc import Iterable
from typing import Literal

from distilljob.errors import CommandError, NotFound
from distilljob_core.artifacts import (
    ENSEMBLE_FILE,
    METRICS_FILE,
    RESULT_FILE,
    EnsembleManifest,
    last_weights_file,
    metrics_file,
    network_file,
    selected_weights_file,
)
from distilljob_core.results import RunResult

Part = Literal["best", "ensemble", "all"]


def read_listing(text: bytes) -> dict[str, int]:
    """Read what the pod said of its files: sizes in bytes, by name.

    Raises:
        CommandError: a name would lead out of the folder that the files are for.
    """
    listing = {str(name): int(size) for name, size in json.loads(text)}
    for name in listing:
        if "/" in name or "\0" in name or name.startswith("."):
            raise CommandError(
                f"the pod names a file {name!r}, which no job publishes; is its image one that you trust?"
            )
    return listing


def wanted_files(part: Part, there: Iterable[str], result: RunResult, ensemble: bytes | None) -> list[str]:
    """Name the files to fetch, small ones first.

    Args:
        part: the best student, the ensemble with its members, or everything.
        there: names of all published files.
        result: what the job measured.
        ensemble: the content of ensemble.json, if there is one.

    Raises:
        NotFound: the job has no ensemble.
    """
    known = sorted(there)
    if part == "all":
        wanted = set(known)
    elif part == "ensemble":
        if ensemble is None:
            raise NotFound("this job has no ensemble: its method makes none, or its last round was never closed")
        members = EnsembleManifest.model_validate_json(ensemble).members
        wanted = {ENSEMBLE_FILE, *(member.file for member in members)}
        wanted |= {network_file(member.student) for member in members}
    else:
        best = result.best
        wanted = {last_weights_file(best), selected_weights_file(best), network_file(best), metrics_file(best)}
    wanted |= {RESULT_FILE} | {name for name in known if name.endswith(METRICS_FILE)}
    return small_first(wanted & set(known))


def small_first(names: Iterable[str]) -> list[str]:
    """Put what describes a run before its weights."""
    return sorted(names, key=lambda name: (name.endswith(".safetensors"), name))


def published_sha256(result: RunResult) -> dict[str, str]:
    """Give the sha256 of each file as its student sent it off; files of students without a result are not in it."""
    return {artifact.name: artifact.sha256 for student in result.students for artifact in student.artifacts}
