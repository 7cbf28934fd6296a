"""Which files of a job's results somebody wants."""

import json
from collections.abc import Iterable, Mapping
from typing import Literal

from distilljob.errors import NotFound
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

Part = Literal["best", "ensemble", "all"]


def wanted_files(part: Part, there: Iterable[str], result: Mapping[str, object], ensemble: bytes | None) -> list[str]:
    """Name the files to fetch, small ones first.

    Args:
        part: the best student, the ensemble with its members, or everything.
        there: names of all published files.
        result: the content of result.json.
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
        best = str(result["best"])
        wanted = {last_weights_file(best), selected_weights_file(best), network_file(best), metrics_file(best)}
    wanted |= {RESULT_FILE} | {name for name in known if name.endswith(METRICS_FILE)}
    return sorted(wanted & set(known), key=lambda name: (name.endswith(".safetensors"), name))


def read_listing(text: bytes) -> dict[str, tuple[int, str]]:
    """Read what the pod said of its files: size in bytes and sha256, by name."""
    return {name: (int(size), str(digest)) for name, size, digest in json.loads(text)}
