"""The files that a job publishes: their names, and the manifest of the ensemble."""

from typing import Final

from distilljob_core.results import Record

RESULT_FILE: Final = "result.json"
ENSEMBLE_FILE: Final = "ensemble.json"
METRICS_FILE: Final = "metrics.jsonl"
"""In a student's checkpoints, and in a run directory with all students' lines."""

_SELECTED: Final = "-selected"


def last_weights_file(student: str) -> str:
    """Name the weights after the last epoch."""
    return f"{student}.safetensors"


def selected_weights_file(student: str) -> str:
    """Name the weights of the epoch that was best on the hold-out."""
    return f"{student}{_SELECTED}.safetensors"


def network_file(student: str) -> str:
    """Name the file that says what network the weights belong to."""
    return f"{student}.json"


def network_files_of(weights_stem: str) -> tuple[str, ...]:
    """Name where to look for the network of a weights file, likeliest first."""
    return network_file(weights_stem), network_file(weights_stem.removesuffix(_SELECTED))


def metrics_file(student: str) -> str:
    """Name one student's lines of metrics.jsonl."""
    return f"{student}-{METRICS_FILE}"


class EnsembleMember(Record):
    """One network of the ensemble."""

    student: str
    model: str
    weight: int
    file: str
    sha256: str


class EnsembleManifest(Record):
    """ensemble.json: the mean of the members' softmax(g_i), with integer weights; t = 1, see decision 0004."""

    members: list[EnsembleMember]
